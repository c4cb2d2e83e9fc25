//! The switch, in a process of its own because it is global: with the kernels off every op is its
//! twin, bit for bit, and optimiser state goes from one path to the other.

mod common;

use candle_core::{Device, Tensor, Var};
use common::{assert_close, bits, flat, wave32};
use kd_kernels::attention::{self, Mask};
use kd_kernels::dropout::Dropout;
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::stream::Stream;
use kd_kernels::switch::instructions;
use kd_kernels::{Kernels, kernels_enabled, set_kernels};
use kd_kernels::{cross_entropy, dropout, softened_kl, softmax};
use kd_kernels::{embedding, feed_forward, layer_norm, residual_add, smoothed_cross_entropy};

#[test]
fn with_the_kernels_off_each_op_is_its_twin_and_state_carries_over() {
    let (z, v) = (wave32(&[6, 37], 3.0, 0.7, 0.1), wave32(&[6, 37], 4.0, 1.3, 0.5));
    let labels = Tensor::new(&[2u32, 0, 7, 9, 1, 1], &Device::Cpu).unwrap();
    let stream = Stream::new(1, 2);

    set_kernels(Kernels::Portable);
    assert_eq!(instructions().unwrap(), "portable");
    set_kernels(Kernels::Off);
    assert!(!kernels_enabled());
    // Candle asks the processor itself.
    assert!(instructions().unwrap().starts_with("off-"));
    assert_eq!(
        bits(&softmax::softmax(&z).unwrap()),
        bits(&softmax::reference::softmax(&z).unwrap())
    );
    assert_eq!(
        bits(&softmax::log_softmax(&z).unwrap()),
        bits(&softmax::reference::log_softmax(&z).unwrap())
    );
    assert_eq!(
        bits(&softmax::log_sum_exp(&z).unwrap()),
        bits(&softmax::reference::log_sum_exp(&z).unwrap())
    );
    let twin = cross_entropy::reference::cross_entropy(&z, &labels).unwrap();
    assert_eq!(bits(&cross_entropy::cross_entropy(&z, &labels).unwrap()), bits(&twin));
    let twin = softened_kl::reference::softened_kl(&z, &v, 3.0).unwrap();
    assert_eq!(bits(&softened_kl::softened_kl(&z, &v, 3.0).unwrap()), bits(&twin));
    assert_eq!(
        bits(&dropout::dropout(&z, 0.5, stream).unwrap()),
        bits(&dropout::reference::dropout(&z, 0.5, stream).unwrap())
    );

    let (dropout, gain) = (Some(Dropout { p: 0.5, stream }), wave32(&[37], 1.0, 0.5, 0.2));
    let rows = z.unsqueeze(0).unwrap();
    let same = |op: candle_core::Result<Tensor>, twin: candle_core::Result<Tensor>| {
        assert_eq!(bits(&op.unwrap()), bits(&twin.unwrap()))
    };
    same(
        layer_norm::layer_norm(&z, &gain, &gain, 1e-5),
        layer_norm::reference::layer_norm(&z, &gain, &gain, 1e-5),
    );
    let end = layer_norm::residual_norm(&z, &v, &gain, &gain, 1e-5, dropout);
    same(end, layer_norm::reference::residual_norm(&z, &v, &gain, &gain, 1e-5, dropout));
    same(
        residual_add::residual_add(&z, &v, dropout),
        residual_add::reference::residual_add(&z, &v, dropout),
    );
    let attended = attention::attention(&rows, &rows, &rows, 1, Mask::NONE, dropout);
    same(attended, attention::reference::attention(&rows, &rows, &rows, 1, Mask::NONE, dropout));
    let ids = Tensor::new(&[2u32, 0, 5], &Device::Cpu).unwrap();
    same(
        embedding::embedding(&ids, &z, 3.0, Some(&v), None),
        embedding::reference::embedding(&ids, &z, 3.0, Some(&v), None),
    );
    let smoothed = smoothed_cross_entropy::label_smoothed_cross_entropy(&z, &labels, 0.1, Some(1));
    let twin =
        smoothed_cross_entropy::reference::label_smoothed_cross_entropy(&z, &labels, 0.1, Some(1));
    same(smoothed.map(|s| s.loss), twin.map(|s| s.loss));
    let few = Tensor::new(&[2u32, 0, 5, 3, 1, 1], &Device::Cpu).unwrap();
    let projected = smoothed_cross_entropy::projected_cross_entropy(
        &z,
        &v.narrow(0, 0, 6).unwrap(),
        &few,
        0.1,
        None,
    );
    let twin = smoothed_cross_entropy::reference::projected_cross_entropy(
        &z,
        &v.narrow(0, 0, 6).unwrap(),
        &few,
        0.1,
        None,
    );
    same(projected.map(|s| s.loss), twin.map(|s| s.loss));
    same(
        smoothed_cross_entropy::soft_cross_entropy(&z, &v, None),
        smoothed_cross_entropy::reference::soft_cross_entropy(&z, &v, None),
    );
    let (w, b) = (v.t().unwrap(), wave32(&[6], 1.0, 0.5, 0.2));
    let fed = feed_forward::feed_forward(&z, &v, &b, &w, &gain, dropout);
    same(fed, feed_forward::reference::feed_forward(&z, &v, &b, &w, &gain, dropout));

    let cfg = SgdConfig { momentum: 0.9, max_norm: Some(4.0), ..SgdConfig::new(0.1) };
    let run = |on: fn(usize) -> bool| {
        let (var, mut state) = (Var::from_tensor(&z).unwrap(), SgdState::new());
        for step in 0..4 {
            set_kernels(if on(step) { Kernels::Best } else { Kernels::Off });
            state.step(&var, &v, &cfg).unwrap();
        }
        flat(&var)
    };
    let kernels = run(|_| true);
    assert_close(&run(|_| false), &kernels, 1e-6, 1e-6, "twins");
    assert_close(&run(|step| step % 2 == 0), &kernels, 1e-6, 1e-6, "kernels and twins in turn");
}
