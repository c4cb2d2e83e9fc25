//! Compiles one loop for several instruction sets and picks the widest the machine has.

/// Defines a function whose body is compiled for AVX-512, for AVX2 and for the build's baseline;
/// the choice is made at each call.
///
/// The bodies are plain Rust loops that the compiler vectorises. They contain no fused multiply-add
/// and reduce in lanes of a fixed number, so that all three versions give the same bits. Functions
/// called from the body must be `#[inline(always)]`.
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

                match $crate::level::level() {
                    // SAFETY: `level` has found the features.
                    $crate::level::Level::Avx512 => return unsafe { wide($($arg),*) },
                    // SAFETY: `level` has found the feature.
                    $crate::level::Level::Avx2 => return unsafe { medium($($arg),*) },
                    $crate::level::Level::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}

pub(crate) use multiversioned;
