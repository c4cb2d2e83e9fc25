//! What the crates of this workspace share below tensors and experiments: whose fault an error is
//! ([`Fault`], [`Blame`]), files that appear whole ([`atomic`]), places that
//! a user names ([`Destination`]), suggestions for misspelt names
//! ([`nearest`]), errors as one line of text ([`message`]), hashes of files ([`file_hash`]) and as text ([`hex()`]) and
//! the choice of a device by name ([`DeviceChoice`]) and being asked to stop ([`stop`]).

pub mod atomic;
pub mod destination;
pub mod device;
pub mod fault;
pub mod file_error;
pub mod file_hash;
pub mod hex;
pub mod message;
pub mod nearest;
pub mod stop;

pub use destination::{Destination, DestinationError};
pub use device::DeviceChoice;
pub use fault::{Blame, Fault};
pub use file_error::FileError;
pub use hex::hex;
