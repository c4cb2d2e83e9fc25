//! Compiles one loop for several instruction sets and picks the widest the machine has.

/// Defines a function whose body is compiled for AVX-512, for AVX2 and for the build's baseline; the choice is made at each call.
///
/// The bodies are plain Rust loops that the compiler vectorises. They contain no fused multiply-add and reduce in lanes of a fixed
/// number, so that all three versions give the same bits. Functions called from the body must be `#[inline(always)]`.
macro_rules! multiversioned {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
                fn wide($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }

                #[target_feature(enable = "avx2")]
                fn medium($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }

                match $crate::multiversion::level() {
                    // SAFETY: `level` has found the four features.
                    $crate::multiversion::Level::Avx512 => return unsafe { wide($($arg),*) },
                    // SAFETY: `level` has found the feature.
                    $crate::multiversion::Level::Avx2 => return unsafe { medium($($arg),*) },
                    $crate::multiversion::Level::Baseline => {}
                }
            }
            body($($arg),*)
        }
    };
}

pub(crate) use multiversioned;

/// Which version of a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
pub(crate) enum Level {
    /// What the build asks of every machine.
    Baseline,
    /// 8 lanes.
    Avx2,
    /// 16 lanes.
    Avx512,
}

/// The widest version that this machine has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn level() -> Level {
    let best = if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
    {
        Level::Avx512
    } else if is_x86_feature_detected!("avx2") {
        Level::Avx2
    } else {
        Level::Baseline
    };
    #[cfg(test)]
    let best = best.min(*tests::LIMIT.read().unwrap_or_else(std::sync::PoisonError::into_inner));
    best
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::sync::RwLock;

    use candle_core::{Device, Result, Tensor, Var};

    use super::Level;
    use crate::Activation;
    use crate::batch_norm::{Statistics, batch_norm};
    use crate::dropout::Dropout;
    use crate::embedding::embedding;
    use crate::energy::channel_energy;
    use crate::gated_sum::gated_sum;
    use crate::layer_norm::{layer_norm, residual_norm};
    use crate::pool::{avg_pool2d, global_avg_pool, max_pool2d};
    use crate::relu::relu;
    use crate::residual_add::residual_add;
    use crate::smoothed_cross_entropy::{label_smoothed_cross_entropy, soft_cross_entropy};
    use crate::squared_distance::channel_distance;
    use crate::stream::Stream;
    use crate::triples::{angle_distance, squared_distances};
    use crate::upsample::upsample_nearest;

    /// The widest version that runs. Other tests do not mind a narrower one: all give the same bits.
    pub(super) static LIMIT: RwLock<Level> = RwLock::new(Level::Avx512);

    fn random(seed: u64, dims: &[usize]) -> Var {
        let mut values = vec![0f32; dims.iter().product()];
        Stream::new(seed, 1).fill_normal(0, &mut values);
        Var::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    /// The bits of a result and of the gradients of the inputs.
    fn bits(inputs: &[&Var], f: impl Fn() -> Result<Tensor>) -> Vec<Vec<u32>> {
        let y = f().unwrap();
        let grads = crate::backward(&(&y * random(9, y.dims()).as_tensor()).unwrap().sum_all().unwrap()).unwrap();
        let all = std::iter::once(&y).chain(inputs.iter().map(|v| grads.get(v).unwrap()));
        all.map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()).collect()
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (x, y, gates) = (random(1, &[3, 5, 9, 11]), random(2, &[3, 5, 9, 11]), random(3, &[3, 2, 9, 11]));
        let (small, weight, bias) = (random(4, &[7, 5, 2, 3]), random(5, &[5]), random(6, &[5]));
        let norm = |x: &Var, residual: Option<&Tensor>, act| {
            bits(&[x, &weight, &bias], || batch_norm(x, &weight, &bias, 1e-5, Statistics::Batch(None), residual, act))
        };
        let (words, gain) = (random(7, &[19, 53]), random(8, &[53]));
        let ids = Tensor::new((0..19u32).map(|i| i * 7 % 19).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        let dropout = Some(Dropout { p: 0.3, stream: Stream::new(1, 2) });
        let all = || {
            vec![
                bits(&[&words, &gain], || layer_norm(&words, &gain, &gain, 1e-5)),
                bits(&[&words, &gain], || residual_norm(&words, &words, &gain, &gain, 1e-5, dropout)),
                bits(&[&words], || residual_add(&words, &words, dropout)),
                bits(&[&words], || embedding(&ids, &words, 1.5, None, Some(3))),
                bits(&[&words], || Ok(label_smoothed_cross_entropy(&words, &ids, 0.1, Some(7))?.loss)),
                bits(&[&words], || soft_cross_entropy(&words, &(random(9, &[19, 53]).as_tensor() * 3.0)?, None)),
                norm(&x, Some(&y), Activation::Relu),
                norm(&x, None, Activation::Relu),
                norm(&small, Some(&small), Activation::Relu),
                norm(&small, None, Activation::None),
                bits(&[&x], || max_pool2d(&x, 3, 2, 1)),
                bits(&[&x], || max_pool2d(&x, 2, 1, 0)),
                bits(&[&x], || avg_pool2d(&x, 3, 2, 1, false)),
                bits(&[&x], || global_avg_pool(&x)),
                bits(&[&x], || upsample_nearest(&x, (18, 22))),
                bits(&[&x], || upsample_nearest(&x, (13, 5))),
                bits(&[&x, &y, &gates], || gated_sum(&x, &y, &gates)),
                bits(&[&x], || relu(&x)),
                bits(&[&x], || channel_energy(&x)),
                bits(&[&x, &y], || channel_distance(&x, &y)),
                bits(&[&words], || {
                    angle_distance(&squared_distances(&words)?, &squared_distances(&gain.reshape((53, 1))?.narrow(0, 0, 19)?)?)
                }),
            ]
        };
        let widest = all();
        for level in [Level::Avx2, Level::Baseline] {
            *LIMIT.write().unwrap() = level;
            let narrower = all();
            *LIMIT.write().unwrap() = Level::Avx512;
            for (i, (narrower, widest)) in narrower.iter().zip(&widest).enumerate() {
                assert!(narrower == widest, "op {i} differs on {level:?}");
            }
        }
    }
}
