//! What ops on sequences do whatever their twins do: gradients, threads, masks, constants, errors.

use crate::common::graph::{assert_finite_differences, assert_threads, assert_twins, random};
use crate::common::{bits, flat};
use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::attention::{self, Mask, attention};
use kd_kernels::dropout::Dropout;
use kd_kernels::embedding::{self, embedding};
use kd_kernels::feed_forward::{self, feed_forward};
use kd_kernels::layer_norm::{self, layer_norm, residual_norm};
use kd_kernels::residual_add::{self, residual_add};
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, reference as twins, soft_cross_entropy,
};
use kd_kernels::stream::Stream;

use super::{draws, drop_of, tensor};

#[test]
fn gradients_of_the_twins_are_finite_differences() {
    let (x, y, gain, bias) =
        (random(1, &[2, 3, 5]), random(2, &[2, 3, 5]), random(3, &[5]), random(4, &[5]));
    let dropout = drop_of(7, 0.4);
    assert_finite_differences(&[x.clone(), gain.clone(), bias.clone()], |t| {
        layer_norm::reference::layer_norm(&t[0], &t[1], &t[2], 0.1)
    });
    let inputs = [x.clone(), y.clone(), gain, bias];
    assert_finite_differences(&inputs, |t| {
        layer_norm::reference::residual_norm(&t[0], &t[1], &t[2], &t[3], 0.1, dropout)
    });
    assert_finite_differences(&[x, y], |t| {
        residual_add::reference::residual_add(&t[0], &t[1], dropout)
    });

    let inputs = [random(5, &[2, 3, 4]), random(6, &[2, 4, 4]), random(7, &[2, 4, 6])];
    let mask = Mask { key_lengths: Some(&[4, 2]), causal: true };
    for dropout in [None, dropout] {
        assert_finite_differences(&inputs, |t| {
            attention::reference::attention(&t[0], &t[1], &t[2], 2, mask, dropout)
        });
    }

    let ids = tensor(vec![1, 0, 1, 2, 1, 0]).reshape((2, 3)).unwrap();
    assert_finite_differences(&[random(8, &[4, 3]), random(9, &[3, 3])], |t| {
        embedding::reference::embedding(&ids, &t[0], 1.5, t.get(1), None)
    });

    let targets = tensor(vec![1, 0, 4]);
    let (h, table) = (random(10, &[3, 4]), random(11, &[5, 4]));
    assert_finite_differences(&[h, table], |t| {
        Ok(twins::projected_cross_entropy(&t[0], &t[1], &targets, 0.2, Some(0))?.loss)
    });
    let teacher = random(12, &[3, 5]).to_dtype(DType::F64).unwrap();
    assert_finite_differences(&[random(13, &[3, 5])], |t| {
        twins::soft_cross_entropy(&t[0], &teacher, Some(&[true, false, true]))
    });

    let inputs = [
        random(14, &[2, 3]),
        random(15, &[6, 3]),
        random(16, &[6]),
        random(17, &[2, 6]),
        random(18, &[2]),
    ];
    assert_finite_differences(&inputs, |t| {
        feed_forward::reference::feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], dropout)
    });
}

#[test]
fn results_do_not_depend_on_threads() {
    let dropout = drop_of(7, 0.3);
    let (x, y, gain, bias) =
        (random(1, &[7, 41, 96]), random(2, &[7, 41, 96]), random(3, &[96]), random(4, &[96]));
    assert_threads(&[x.clone(), y.clone(), gain, bias], |t| {
        residual_norm(&t[0], &t[1], &t[2], &t[3], 1e-5, dropout)
    });
    assert_threads(&[x.clone(), y.clone()], |t| residual_add(&t[0], &t[1], dropout));
    let lengths = [41, 3, 17, 40, 41, 9, 1];
    let mask = Mask { key_lengths: Some(&lengths), causal: true };
    assert_threads(&[x.clone(), y.clone(), y.clone()], |t| {
        attention(&t[0], &t[1], &t[2], 4, mask, dropout)
    });
    let ids = tensor(draws(5, 7 * 41, 1000)).reshape((7, 41)).unwrap();
    assert_threads(&[random(6, &[1000, 96]), random(7, &[41, 96])], |t| {
        embedding(&ids, &t[0], 3.0, t.get(1), Some(5))
    });
    let targets = tensor(draws(8, 600, 1000));
    assert_threads(&[random(9, &[600, 32]), random(10, &[1000, 32])], |t| {
        Ok(projected_cross_entropy(&t[0], &t[1], &targets, 0.1, Some(5))?.loss)
    });
    assert_threads(&[random(11, &[600, 1000])], |t| {
        label_smoothed_cross_entropy(&t[0], &targets, 0.1, Some(5))?.loss
            + soft_cross_entropy(&t[0], &random(12, &[600, 1000]), None)?
    });
    let inputs =
        [x, random(13, &[130, 96]), random(14, &[130]), random(15, &[96, 130]), random(16, &[96])];
    assert_threads(&inputs, |t| feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], dropout));
}

#[test]
fn one_query_gives_the_same_from_a_cache_and_from_a_copy() {
    let (n, tk, d) = (10, 23, 32);
    let (q, cache) = (random(1, &[n, 1, d]), random(2, &[n, 60, 2 * d]));
    let view = |from: usize| cache.narrow(2, from, d).unwrap().narrow(1, 0, tk).unwrap();
    let (k, v) = (view(0), view(d));
    let got = attention(&q, &k, &v, 4, Mask::NONE, None).unwrap();
    assert_eq!(
        bits(&got),
        bits(
            &attention(&q, &k.contiguous().unwrap(), &v.contiguous().unwrap(), 4, Mask::NONE, None)
                .unwrap()
        )
    );
    // A variable takes the path of training.
    let trained = attention(&Var::from_tensor(&q).unwrap(), &k, &v, 4, Mask::NONE, None).unwrap();
    crate::common::assert_close(&flat(&got), &flat(&trained), 1e-6, 1e-6, "the path of training");
}

#[test]
fn beams_as_queries_of_one_row_are_rows_of_their_own() {
    let (q, k, v) = (random(1, &[2, 5, 8]), random(2, &[2, 7, 8]), random(3, &[2, 7, 8]));
    let together =
        attention(&q, &k, &v, 2, Mask { key_lengths: Some(&[7, 4]), causal: false }, None).unwrap();
    for beam in 0..5 {
        let q = q.narrow(1, beam, 1).unwrap();
        let alone =
            attention(&q, &k, &v, 2, Mask { key_lengths: Some(&[7, 4]), causal: false }, None)
                .unwrap();
        crate::common::assert_close(
            &flat(&together.narrow(1, beam, 1).unwrap()),
            &flat(&alone),
            1e-6,
            1e-6,
            "beam",
        );
    }
}

#[test]
fn keys_that_are_not_seen_do_not_matter_and_get_no_gradient() {
    let (q, k, v) = (random(1, &[2, 4, 8]), random(2, &[2, 4, 8]), random(3, &[2, 4, 8]));
    let mask = Mask { key_lengths: Some(&[2, 4]), causal: false };
    let far = Tensor::full(1e30f32, (1, 2, 8), &Device::Cpu).unwrap();
    let hide = |t: &Tensor| t.slice_assign(&[0..1, 2..4, 0..8], &far).unwrap();
    let y = attention(&q, &k, &v, 2, mask, None).unwrap();
    assert_eq!(bits(&y), bits(&attention(&q, &hide(&k), &hide(&v), 2, mask, None).unwrap()));
    let (k, v) = (Var::from_tensor(&k).unwrap(), Var::from_tensor(&v).unwrap());
    let up = random(4, y.dims());
    let grads = kd_kernels::backward(
        &(attention(&q, &k, &v, 2, mask, None).unwrap() * up).unwrap().sum_all().unwrap(),
    )
    .unwrap();
    for var in [&k, &v] {
        let grad = grads.get(var).unwrap();
        assert!(flat(&grad.get(0).unwrap().narrow(0, 2, 2).unwrap()).iter().all(|&g| g == 0.0));
        assert!(flat(&grad.get(1).unwrap()).iter().all(|&g| g != 0.0));
    }
}

#[test]
fn dropout_of_fused_ops_is_that_of_the_op() {
    let (x, y) = (random(1, &[3, 50, 33]), random(2, &[3, 50, 33]));
    let dropout = Dropout { p: 0.3, stream: Stream::new(9, 9) };
    let sum = (&x + kd_kernels::dropout::dropout(&y, dropout.p, dropout.stream).unwrap()).unwrap();
    assert_eq!(bits(&residual_add(&x, &y, Some(dropout)).unwrap()), bits(&sum));
    let (gain, bias) = (random(3, &[33]), random(4, &[33]));
    let normed = layer_norm(&sum, &gain, &bias, 1e-5).unwrap();
    assert_eq!(
        bits(&residual_norm(&x, &y, &gain, &bias, 1e-5, Some(dropout)).unwrap()),
        bits(&normed)
    );
    // With weights that are uniform and values of 1, attention counts what dropout keeps.
    let q = Tensor::zeros((2, 6, 4), DType::F32, &Device::Cpu).unwrap();
    let ones = q.ones_like().unwrap();
    let kept = attention(&q, &q, &ones, 2, Mask::NONE, Some(dropout)).unwrap();
    let weights = Tensor::full(1f32 / 6.0, (2, 2, 6, 6), &Device::Cpu).unwrap();
    let sums =
        kd_kernels::dropout::dropout(&weights, dropout.p, dropout.stream).unwrap().sum(3).unwrap();
    let want =
        sums.transpose(1, 2).unwrap().unsqueeze(3).unwrap().broadcast_as((2, 6, 2, 2)).unwrap();
    crate::common::assert_close(&flat(&kept), &flat(&want), 1e-6, 0.0, "attention");
}

#[test]
fn frozen_arguments_get_no_gradient_and_cut_no_other() {
    let inputs = [random(1, &[2, 3, 8]), random(2, &[2, 3, 8]), random(3, &[8]), random(4, &[8])];
    let table = random(5, &[9, 8]);
    let ids = tensor(vec![1, 2, 3, 4, 5, 6]).reshape((2, 3)).unwrap();
    let targets = tensor(draws(1, 6, 9));
    type Op<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + 'a>;
    let ops: Vec<(Vec<Tensor>, Op)> = vec![
        (
            inputs.to_vec(),
            Box::new(|t| residual_norm(&t[0], &t[1], &t[2], &t[3], 1e-5, drop_of(1, 0.5))),
        ),
        (inputs[..2].to_vec(), Box::new(|t| residual_add(&t[0], &t[1], drop_of(1, 0.5)))),
        (
            vec![inputs[0].clone(), inputs[1].clone(), inputs[1].clone()],
            Box::new(|t| attention(&t[0], &t[1], &t[2], 2, Mask::NONE, None)),
        ),
        (
            vec![table.clone(), random(6, &[3, 8])],
            Box::new(|t| embedding(&ids, &t[0], 2.0, t.get(1), None)),
        ),
        (
            vec![random(7, &[6, 8]), table],
            Box::new(|t| Ok(projected_cross_entropy(&t[0], &t[1], &targets, 0.1, None)?.loss)),
        ),
    ];
    for (op, (inputs, f)) in ops.iter().enumerate() {
        let all: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let grads = |frozen: Option<usize>| {
            let thaw = |(i, v): (usize, &Var)| {
                if frozen == Some(i) { v.as_detached_tensor() } else { v.as_tensor().clone() }
            };
            let y = f(&all.iter().enumerate().map(thaw).collect::<Vec<_>>()).unwrap();
            let up = random(99, y.dims());
            kd_kernels::backward(&(y * up).unwrap().sum_all().unwrap()).unwrap()
        };
        let whole = grads(None);
        for frozen in 0..all.len() {
            let part = grads(Some(frozen));
            for (i, var) in all.iter().enumerate() {
                let want = (i != frozen).then(|| bits(whole.get(var).unwrap()));
                assert_eq!(
                    part.get(var).map(bits),
                    want,
                    "op {op}, input {i} with {frozen} frozen"
                );
            }
        }
    }
}

#[test]
fn results_without_a_variable_have_no_graph() {
    let (x, gain) = (random(1, &[2, 3, 8]), random(2, &[8]));
    assert!(!residual_norm(&x, &x, &gain, &gain, 1e-5, drop_of(1, 0.5)).unwrap().track_op());
    assert!(!attention(&x, &x, &x, 2, Mask::NONE, None).unwrap().track_op());
    let z = random(3, &[4, 5]);
    let smoothed = label_smoothed_cross_entropy(
        &Var::from_tensor(&z).unwrap(),
        &tensor(vec![0; 4]),
        0.1,
        None,
    )
    .unwrap();
    assert!(smoothed.loss.track_op() && !smoothed.nll.track_op());
    assert!(
        !label_smoothed_cross_entropy(&z, &tensor(vec![0; 4]), 0.1, None).unwrap().loss.track_op()
    );
}

#[test]
fn a_loss_that_is_scaled_scales_its_gradients_in_either_pass_and_again() {
    let (h, table) = (
        Var::from_tensor(&random(1, &[6, 4])).unwrap(),
        Var::from_tensor(&random(2, &[9, 4])).unwrap(),
    );
    let targets = tensor(draws(1, 6, 9));
    let grads = |scale: f64, ours: bool| {
        let loss = (projected_cross_entropy(&h, &table, &targets, 0.1, None).unwrap().loss * scale)
            .unwrap();
        let of = |t: &Tensor| flat(t);
        if ours {
            let grads = kd_kernels::backward(&loss).unwrap();
            return [of(grads.get(&h).unwrap()), of(grads.get(&table).unwrap())];
        }
        loss.backward().unwrap();
        let grads = loss.backward().unwrap();
        [of(grads.get(&h).unwrap()), of(grads.get(&table).unwrap())]
    };
    let one = grads(1.0, true);
    for (scale, ours) in [(1.0, false), (0.25, true), (0.25, false)] {
        for (one, got) in one.iter().zip(grads(scale, ours)) {
            let want: Vec<f64> = one.iter().map(|g| g * scale).collect();
            crate::common::assert_close(&got, &want, 1e-7, 1e-6, "gradient");
        }
    }
}

#[test]
fn a_table_that_embeds_and_projects_has_both_gradients() {
    let ids = tensor(vec![3, 1, 4, 1]);
    let f = |t: &[Tensor]| {
        let hidden = embedding(&ids, &t[0], 2.0, None, None)?;
        Ok(projected_cross_entropy(&hidden, &t[0], &ids, 0.1, None)?.loss)
    };
    let twin = |t: &[Tensor]| {
        let hidden = embedding::reference::embedding(&ids, &t[0], 2.0, None, None)?;
        Ok(twins::projected_cross_entropy(&hidden, &t[0], &ids, 0.1, None)?.loss)
    };
    assert_twins(&[random(1, &[6, 5])], 1e-5, f, twin);
    assert_finite_differences(&[random(1, &[6, 5])], twin);
    // Embedded twice, used by a stock op as well, in both passes.
    let table = Var::from_tensor(&random(1, &[6, 5])).unwrap();
    let inputs = [table.as_tensor().clone()];
    let twice =
        embedding(&ids, &table, 3.0, None, Some(4)).unwrap().sqr().unwrap().sum_all().unwrap();
    let loss =
        ((f(&inputs).unwrap() + twice).unwrap() + table.sqr().unwrap().sum_all().unwrap()).unwrap();
    let stock = flat(loss.backward().unwrap().get(&table).unwrap());
    let grads = kd_kernels::backward(&loss).unwrap();
    crate::common::assert_close(&flat(grads.get(&table).unwrap()), &stock, 1e-4, 1e-5, "gradient");
    let frozen = table.as_detached_tensor();
    let alone = kd_kernels::backward(
        &embedding(&ids, &table, 3.0, None, Some(4)).unwrap().sum_all().unwrap(),
    )
    .unwrap();
    assert_eq!(flat(alone.get(&table).unwrap())[..10], [0., 0., 0., 0., 0., 6., 6., 6., 6., 6.]);
    assert!(!embedding(&ids, &frozen, 3.0, None, None).unwrap().track_op());
}

#[test]
fn a_whole_block_has_the_gradients_of_its_twins() {
    let (d, dropout, lengths) = (8, drop_of(3, 0.2), [3usize, 5]);
    let mask = Mask { key_lengths: Some(&lengths), causal: true };
    let mut inputs = vec![random(1, &[2, 5, d])];
    inputs.extend((2..6).map(|seed| random(seed, &[d, d])));
    inputs.extend([
        random(6, &[d]),
        random(7, &[d]),
        random(8, &[16, d]),
        random(9, &[16]),
        random(10, &[d, 16]),
    ]);
    use kd_kernels::Activation;
    use kd_kernels::linear::{self, linear};
    let ours = |t: &[Tensor]| {
        let project = |x: &Tensor, i: usize| linear(x, &t[i], Some(&t[5]), Activation::None);
        let heads = attention(
            &project(&t[0], 1)?,
            &project(&t[0], 2)?,
            &project(&t[0], 3)?,
            2,
            mask,
            dropout,
        )?;
        let x = residual_norm(&t[0], &project(&heads, 4)?, &t[6], &t[5], 1e-5, dropout)?;
        let y = residual_add(&x, &feed_forward(&x, &t[7], &t[8], &t[9], &t[6], dropout)?, None)?;
        layer_norm(&y, &t[6], &t[5], 1e-5)
    };
    let twin = |t: &[Tensor]| {
        let project = |x: &Tensor, i: usize| {
            linear::reference::linear(x, &t[i], Some(&t[5]), Activation::None)
        };
        let heads = attention::reference::attention(
            &project(&t[0], 1)?,
            &project(&t[0], 2)?,
            &project(&t[0], 3)?,
            2,
            mask,
            dropout,
        )?;
        let x = layer_norm::reference::residual_norm(
            &t[0],
            &project(&heads, 4)?,
            &t[6],
            &t[5],
            1e-5,
            dropout,
        )?;
        let y = feed_forward::reference::feed_forward(&x, &t[7], &t[8], &t[9], &t[6], dropout)?;
        layer_norm::reference::layer_norm(
            &residual_add::reference::residual_add(&x, &y, None)?,
            &t[6],
            &t[5],
            1e-5,
        )
    };
    assert_twins(&inputs, 1e-4, ours, twin);
    assert_threads(&inputs, ours);
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let says = |result: Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let (x, gain) = (random(1, &[2, 3, 8]), random(2, &[8]));
    let short = random(3, &[7]);
    says(layer_norm(&x, &short, &gain, 1e-5), "layer_norm: gain has shape [7], expected [8]");
    says(
        residual_norm(&x, &gain, &gain, &gain, 1e-5, None),
        "residual_norm: sublayer has shape [8]",
    );
    says(
        residual_add(&x, &x, Some(Dropout { p: 1.0, stream: Stream::new(1, 1) })),
        "residual_add: expected dropout with p in [0, 1), got 1",
    );
    let attend = |heads, mask| attention(&x, &x, &x, heads, mask, None);
    says(attend(3, Mask::NONE), "multiples of 3 heads, got 8 of q and k");
    says(attend(0, Mask::NONE), "multiples of 0 heads");
    says(
        attend(2, Mask { key_lengths: Some(&[3, 4]), causal: false }),
        "key length 4 at index 1 is outside 1 ..= 3",
    );
    says(attend(2, Mask { key_lengths: Some(&[3, 0]), causal: false }), "key length 0 at index 1");
    says(
        attend(2, Mask { key_lengths: Some(&[3]), causal: false }),
        "expected 2 key lengths, got 1",
    );
    let fewer = x.narrow(1, 0, 2).unwrap();
    says(
        attention(&x, &fewer, &fewer, 2, Mask { key_lengths: None, causal: true }, None),
        "got 2 keys and 3 queries",
    );
    says(
        attention(&x, &fewer, &x, 2, Mask::NONE, None),
        "v has shape [2, 3, 8], expected [2, 2, d_v]",
    );
    let table = random(4, &[5, 8]);
    says(
        embedding(&tensor(vec![0, 5, 9]), &table, 1.0, None, None),
        "embedding: id 5 at index 1 is out of range for a table of 5 rows",
    );
    says(
        embedding(&tensor(vec![0, 1]), &table, 1.0, Some(&table.narrow(0, 0, 1).unwrap()), None),
        "expected at least [2, 8]",
    );
    says(embedding(&gain, &table, 1.0, None, None), "expected ids of u32");
    let (z, targets) = (random(5, &[3, 5]), tensor(vec![0, 4, 7]));
    let smooth = |epsilon, ignore| {
        label_smoothed_cross_entropy(&z, &targets, epsilon, ignore).map(|s| s.loss)
    };
    says(smooth(0.1, None), "target 7 at index 2 is out of range for 5 words");
    assert!(smooth(0.1, Some(7)).is_ok());
    says(smooth(1.5, Some(7)), "expected epsilon in [0, 1], got 1.5");
    says(
        projected_cross_entropy(&z, &table, &targets, 0.1, None).map(|s| s.loss),
        "table has shape [5, 8], expected [V, 5]",
    );
    says(soft_cross_entropy(&z, &table, None), "expected teacher logits [3, 5]");
    says(soft_cross_entropy(&z, &z, Some(&[true])), "expected 3 flags");
}
