//! MNIST as the hub's tables: the data set `ylecun/mnist`.

use super::set::{CLASSES, Mnist, SIDE};
use crate::data::DataError;
use crate::data::hub::{Files, Repo};
use crate::data::table::{self, TableSchema};

/// Where it is on the hub.
pub const REPO: Repo = Repo {
    owner: "ylecun",
    name: "mnist",
    files: ["mnist/train/0000.parquet", "mnist/test/0000.parquet"],
    main: ["mnist/train-00000-of-00001.parquet", "mnist/test-00000-of-00001.parquet"],
    // Of commit 3fc021f95522201682d9141e1fd5c5c3686166eb.
    sha256: &[
        "1d9e85f5af2b93435015592917da9074a887abab425e28b4079c6c3289e24755",
        "4d3a1a8c8aa33afe64486788cdfbd63c5f126a34dc1e9d2edea9ade1b2aabe8d",
    ],
};

const SCHEMA: TableSchema = TableSchema {
    image: "image.bytes",
    label: "label",
    classes: CLASSES,
    coarse: None,
    channels: 1,
    rows: SIDE,
    cols: SIDE,
};

/// Reads both files and checks that they have the `content` hash, if one is given.
///
/// # Errors
/// As [`table::read`], and [`DataError::Content`] where they hold something other than MNIST.
pub fn read(files: &Files, content: Option<&str>) -> Result<Mnist, DataError> {
    let mnist = Mnist {
        train: table::read(&files.train, &SCHEMA)?,
        test: table::read(&files.test, &SCHEMA)?,
    };
    match (content, mnist.content_hash()) {
        (Some(expected), got) if *expected != got => Err(DataError::Content {
            found: files.train.display().to_string(),
            dataset: "MNIST",
            expected: format!("content {expected}"),
            got: format!("content {got}"),
        }),
        _ => Ok(mnist),
    }
}
