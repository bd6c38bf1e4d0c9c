//! The rounds of SHA-256 and MD5, written once and compiled for each width of vector.
//!
//! A vector holds one 32-bit word of each lane. What a width brings along are its `Vector`, its
//! `LANES`, and the functions used below; none of them looks across lanes but `load_words`.

/// A step is 64 bytes, which both functions take in at once.
pub(super) type Step = [u8; 64];

/// FIPS 180-4, 4.2.2.
#[rustfmt::skip]
pub(super) const SHA256_ROUND: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// RFC 1321, 3.4.
#[rustfmt::skip]
pub(super) const MD5_ROUND: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Makes the functions `sha256` and `md5` of one width. Both take their lanes' states on over the
/// first `steps` steps of each lane's bytes.
macro_rules! kernels {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn sha256(state: &mut [[u32; LANES]; 8], bytes: &[&[Step]; LANES], steps: usize) {
            let mut sum = state.each_ref().map(|words| load(words));
            for step in 0..steps {
                let mut w = load_words::<true>(bytes, step);
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = sum;
                macro_rules! round {
                    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $i:literal, $first:expr) => {
                        if $first > 0 {
                            let (old, new) = (w[($i + 1) % 16], w[($i + 14) % 16]);
                            let low = xor3(rotate_right::<7, 25>(old), rotate_right::<18, 14>(old), shift_right::<3>(old));
                            let high = xor3(rotate_right::<17, 15>(new), rotate_right::<19, 13>(new), shift_right::<10>(new));
                            w[$i] = add(add(w[$i], w[($i + 9) % 16]), add(low, high));
                        }
                        let key = add(splat(SHA256_ROUND[$first + $i]), w[$i]);
                        let mixed = xor3(rotate_right::<6, 26>($e), rotate_right::<11, 21>($e), rotate_right::<25, 7>($e));
                        let first = add(add(add($h, key), choose($e, $f, $g)), mixed);
                        let mixed = xor3(rotate_right::<2, 30>($a), rotate_right::<13, 19>($a), rotate_right::<22, 10>($a));
                        $d = add($d, first);
                        $h = add(first, add(majority($a, $b, $c), mixed));
                    };
                }
                macro_rules! sixteen_rounds {
                    ($first:expr) => {
                        round!(a b c d e f g h, 0, $first);
                        round!(h a b c d e f g, 1, $first);
                        round!(g h a b c d e f, 2, $first);
                        round!(f g h a b c d e, 3, $first);
                        round!(e f g h a b c d, 4, $first);
                        round!(d e f g h a b c, 5, $first);
                        round!(c d e f g h a b, 6, $first);
                        round!(b c d e f g h a, 7, $first);
                        round!(a b c d e f g h, 8, $first);
                        round!(h a b c d e f g, 9, $first);
                        round!(g h a b c d e f, 10, $first);
                        round!(f g h a b c d e, 11, $first);
                        round!(e f g h a b c d, 12, $first);
                        round!(d e f g h a b c, 13, $first);
                        round!(c d e f g h a b, 14, $first);
                        round!(b c d e f g h a, 15, $first);
                    };
                }
                sixteen_rounds!(0);
                for first in [16, 32, 48] {
                    sixteen_rounds!(first);
                }
                let out = [a, b, c, d, e, f, g, h];
                for (sum, out) in sum.iter_mut().zip(out) {
                    *sum = add(*sum, out);
                }
            }
            for (words, sum) in state.iter_mut().zip(sum) {
                store(words, sum);
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn md5(state: &mut [[u32; LANES]; 4], bytes: &[&[Step]; LANES], steps: usize) {
            let mut sum = state.each_ref().map(|words| load(words));
            for step in 0..steps {
                let w = load_words::<false>(bytes, step);
                let [mut a, mut b, mut c, mut d] = sum;
                macro_rules! round {
                    ($mixed:expr, $a:ident $b:ident, $i:expr, $times:literal $plus:literal, $left:literal) => {
                        let key = add(splat(MD5_ROUND[$i]), w[($times * ($i) + $plus) % 16]);
                        let turned = rotate_right::<{ 32 - $left }, $left>(add(add($a, key), $mixed));
                        $a = add($b, turned);
                    };
                }
                // Round i mixes so, takes the word at times * i + plus, and turns left by one of four.
                macro_rules! sixteen_rounds {
                    ($mix:ident, $first:literal, $times:literal $plus:literal, $r0:literal $r1:literal $r2:literal $r3:literal) => {
                        sixteen_rounds!(@ $first + 0, $mix, $times $plus, $r0 $r1 $r2 $r3);
                        sixteen_rounds!(@ $first + 4, $mix, $times $plus, $r0 $r1 $r2 $r3);
                        sixteen_rounds!(@ $first + 8, $mix, $times $plus, $r0 $r1 $r2 $r3);
                        sixteen_rounds!(@ $first + 12, $mix, $times $plus, $r0 $r1 $r2 $r3);
                    };
                    (@ $i:expr, $mix:ident, $times:literal $plus:literal, $r0:literal $r1:literal $r2:literal $r3:literal) => {
                        round!($mix(b, c, d), a b, $i, $times $plus, $r0);
                        round!($mix(a, b, c), d a, $i + 1, $times $plus, $r1);
                        round!($mix(d, a, b), c d, $i + 2, $times $plus, $r2);
                        round!($mix(c, d, a), b c, $i + 3, $times $plus, $r3);
                    };
                }
                sixteen_rounds!(choose, 0, 1 0, 7 12 17 22);
                sixteen_rounds!(choose_by_last, 16, 5 1, 5 9 14 20);
                sixteen_rounds!(xor3, 32, 3 5, 4 11 16 23);
                sixteen_rounds!(xor_or_not, 48, 7 0, 6 10 15 21);
                for (sum, out) in sum.iter_mut().zip([a, b, c, d]) {
                    *sum = add(*sum, out);
                }
            }
            for (words, sum) in state.iter_mut().zip(sum) {
                store(words, sum);
            }
        }
    };
}
pub(super) use kernels;
