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

                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the four features were detected just above.
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was detected just above.
                    return unsafe { medium($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

pub(crate) use multiversioned;
