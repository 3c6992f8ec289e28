//! Compiles one body of plain loops twice: for the target of the build, and for AVX-512, which is
//! used on processors that support it. Rust never fuses a multiplication and an addition by itself,
//! so both give the same bits.

use std::sync::OnceLock;

/// Whether this processor has the vector instructions that [`vectorized`] compiles for. Setting
/// `BYROTE_PORTABLE=1` in the environment disables them, to test the code path of other processors.
pub fn wide() -> bool {
    static WIDE: OnceLock<bool> = OnceLock::new();
    *WIDE.get_or_init(|| {
        std::env::var_os("BYROTE_PORTABLE").is_none_or(|value| value != "1") && detected()
    })
}

#[cfg(target_arch = "x86_64")]
fn detected() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> bool {
    false
}

/// Defines a function whose loops are compiled for AVX-512 as well as for the build's own target,
/// and which runs the version that this processor supports. Functions that it calls must be
/// `#[inline(always)]`, or they stay narrow.
#[macro_export]
macro_rules! vectorized {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body_as_built($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn body_for_avx512($($argument: $type),*) $(-> $result)? {
                    body_as_built($($argument),*)
                }
                if $crate::simd::wide() {
                    #[expect(unsafe_code, reason = "this processor has the instructions that the body was compiled for")]
                    // SAFETY: `wide()` has just confirmed the instructions.
                    return unsafe { body_for_avx512($($argument),*) };
                }
            }
            body_as_built($($argument),*)
        }
    };
}
pub use vectorized;

/// Below this, [`exp`] returns 0.
pub const LEAST: f32 = -87.0;

/// e^x for x <= 0 to within 2 units in the last place, without a branch, so that it vectorizes:
/// splits x into n ln 2 + r; e^r is a polynomial, and 2^n goes into the exponent. Returns 0 below
/// [`LEAST`]; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0;
    let clamped = at_least(x, LEAST);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    // Taylor coefficients up to r^7; |r| <= ln 2 / 2.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < LEAST { 0.0 } else { p * scale }
}

/// The larger of `x` and `least`; NaN stays NaN.
#[inline(always)]
pub fn at_least(x: f32, least: f32) -> f32 {
    if x < least { least } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_as_precise_as_the_standard_library() {
        for i in 0..200_000 {
            let x = -(i as f32) / 2_100.0;
            let want = f64::from(x).exp();
            let got = f64::from(exp(x));
            assert!(
                (got - want).abs() <= 2.5e-7 * want + 1e-37,
                "{x}: {got} against {want}"
            );
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn portable_and_avx512_code_give_the_same_bits() {
        vectorized! {
            fn sums(x: &[f32]) -> (f32, f32) {
                let mut sums = [0f32; 16];
                for lane in x.chunks_exact(16) {
                    for (sum, x) in sums.iter_mut().zip(lane) {
                        *sum += exp(*x) * 1.1;
                    }
                }
                (sums.iter().sum(), sums[3])
            }
        }
        let x: Vec<f32> = (0..1_600).map(|i| -(i as f32) * 0.01).collect();
        let mut plain = [0f32; 16];
        for lane in x.chunks_exact(16) {
            for (sum, x) in plain.iter_mut().zip(lane) {
                *sum += exp(*x) * 1.1;
            }
        }
        assert_eq!(sums(&x), (plain.iter().sum(), plain[3]));
    }
}
