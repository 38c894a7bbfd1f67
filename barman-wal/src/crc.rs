//! CRC-32C, as WAL records, `pg_control` and manifests have it (PostgreSQL, `pg_crc32c.h`).
//!
//! Most WAL records are shorter than 100 bytes, where what surrounds the computation costs more than it; images of
//! blocks are 8 KiB, where one chain of CRC instructions waits for itself two thirds of the time. So on x86-64 both
//! are done here, in one call for each record; every other processor takes the crate `crc32c`.

/// The checksum of `bytes` that follow others whose checksum is `crc` (0: there are none).
#[must_use]
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(crc) = x86::append(crc, bytes) {
        return crc;
    }
    crc32c::crc32c_append(crc, bytes)
}

/// The checksum of `first` and, after it, `second`.
#[inline]
#[must_use]
pub(crate) fn of_two(first: &[u8], second: &[u8; 20]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(crc) = x86::of_two(first, second) {
        return crc;
    }
    crc32c::crc32c_append(crc32c::crc32c(first), second)
}

/// The instructions of SSE 4.2 and carry-less multiplication, where the processor has both.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _MM_HINT_T0, _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64,
        _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_prefetch,
    };

    /// The polynomial, lowest power in the highest bit.
    const POLYNOMIAL: u32 = 0x82F6_3B78;

    /// `x^power` modulo the polynomial.
    const fn power(power: usize) -> u32 {
        let mut value = 1u32 << 31;
        let mut done = 0;
        while done < power {
            value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            done += 1;
        }
        value
    }

    /// Bytes of a line of the processor's caches.
    const LINE: usize = 64;
    /// How far ahead lines are asked for, bytes. Without it WAL that comes out of memory takes half as long again:
    /// the processor does not find out by itself, within so few bytes, that three places go on.
    const AHEAD: usize = 4096;

    /// Asks for what follows `line` after a while, which need not be ours or be there at all.
    #[inline]
    #[target_feature(enable = "sse")]
    fn ahead(line: &[u8]) {
        let address = line.as_ptr().wrapping_add(AHEAD).cast();
        // It reads nothing as far as a program can see, and never faults.
        _mm_prefetch::<_MM_HINT_T0>(address);
    }

    /// Three chains of `LENGTH` bytes, a multiple of [`LINE`], run side by side: the result of an instruction can be used three cycles later,
    /// but each cycle one can start.
    struct Lanes<const LENGTH: usize>;

    impl<const LENGTH: usize> Lanes<LENGTH> {
        /// Moves a state over a lane. The product of two numbers of 32 bits that have their lowest power in the
        /// highest bit lacks one shift, and the instruction multiplies by `x^32`.
        const SHIFT: u32 = power(8 * LENGTH - 33);

        #[inline]
        #[target_feature(enable = "sse4.2,pclmulqdq")]
        fn shift(state: u64) -> u64 {
            let product = _mm_clmulepi64_si128::<0>(
                _mm_cvtsi64_si128(state.cast_signed()),
                _mm_cvtsi64_si128(i64::from(Self::SHIFT)),
            );
            _mm_crc32_u64(0, _mm_cvtsi128_si64(product).cast_unsigned())
        }

        /// Takes as many times three lanes from `bytes` as there are.
        #[inline]
        #[target_feature(enable = "sse4.2,pclmulqdq")]
        fn run(mut state: u64, mut bytes: &[u8]) -> (u64, &[u8]) {
            while let Some((three, rest)) = bytes.split_at_checked(3 * LENGTH) {
                let (a, bc) = three.split_at(LENGTH);
                let (b, c) = bc.split_at(LENGTH);
                let (mut second, mut third) = (0, 0);
                let lines = a
                    .as_chunks::<LINE>()
                    .0
                    .iter()
                    .zip(b.as_chunks::<LINE>().0)
                    .zip(c.as_chunks::<LINE>().0);
                for ((a, b), c) in lines {
                    ahead(a);
                    ahead(b);
                    ahead(c);
                    let words = a.as_chunks().0.iter().zip(b.as_chunks().0).zip(c.as_chunks().0);
                    for ((a, b), c) in words {
                        state = _mm_crc32_u64(state, u64::from_le_bytes(*a));
                        second = _mm_crc32_u64(second, u64::from_le_bytes(*b));
                        third = _mm_crc32_u64(third, u64::from_le_bytes(*c));
                    }
                }
                state = Self::shift(state) ^ second;
                state = Self::shift(state) ^ third;
                bytes = rest;
            }
            (state, bytes)
        }
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn update(mut state: u64, mut bytes: &[u8]) -> u64 {
        if bytes.len() >= 192 {
            (state, bytes) = long(state, bytes);
        } else {
            bytes.chunks(LINE).for_each(|line| ahead(line));
        }
        let (words, rest) = bytes.as_chunks();
        for word in words {
            state = _mm_crc32_u64(state, u64::from_le_bytes(*word));
        }
        bytes = rest;
        let mut state = state as u32;
        if let Some((word, rest)) = bytes.split_first_chunk() {
            state = _mm_crc32_u32(state, u32::from_le_bytes(*word));
            bytes = rest;
        }
        if let Some((word, rest)) = bytes.split_first_chunk() {
            state = _mm_crc32_u16(state, u16::from_le_bytes(*word));
            bytes = rest;
        }
        if let [byte] = bytes {
            state = _mm_crc32_u8(state, *byte);
        }
        u64::from(state)
    }

    #[inline(never)]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn long(state: u64, bytes: &[u8]) -> (u64, &[u8]) {
        let (state, bytes) = Lanes::<640>::run(state, bytes);
        Lanes::<64>::run(state, bytes)
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn append_here(crc: u32, bytes: &[u8]) -> u32 {
        !(update(u64::from(!crc), bytes) as u32)
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn of_two_here(first: &[u8], second: &[u8; 20]) -> u32 {
        !(update(update(u64::from(!0u32), first), second) as u32)
    }

    /// Whether the functions above can run. The answer is kept by the standard library.
    #[inline]
    fn available() -> bool {
        is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq")
    }

    /// As [`super::append`]; `None` where the processor cannot.
    #[inline]
    pub fn append(crc: u32, bytes: &[u8]) -> Option<u32> {
        #[expect(
            unsafe_code,
            reason = "only the processor's features, which were just looked at"
        )]
        // SAFETY: the functions are unsafe to call for their target features alone, and the processor has these.
        available().then(|| unsafe { append_here(crc, bytes) })
    }

    /// As [`super::of_two`]; `None` where the processor cannot.
    #[inline]
    pub fn of_two(first: &[u8], second: &[u8; 20]) -> Option<u32> {
        #[expect(
            unsafe_code,
            reason = "only the processor's features, which were just looked at"
        )]
        // SAFETY: as in `append`.
        available().then(|| unsafe { of_two_here(first, second) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit.
    fn slow(crc: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!crc, |state, byte| {
            (0..8).fold(state ^ u32::from(*byte), |state, _| {
                (state >> 1) ^ if state & 1 == 1 { 0x82F6_3B78 } else { 0 }
            })
        })
    }

    /// Every length up to beyond three of the longest lanes, at every alignment; pieces give what the whole gives.
    #[test]
    fn every_length() {
        let bytes: Vec<u8> = (0..13_000u32)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut expected = 0;
        let mut pieces = 0;
        for (length, byte) in bytes.iter().enumerate() {
            let all = &bytes[..length];
            assert_eq!(append(0, all), expected, "{length}");
            let start = length % 9;
            if let Some(part) = all.get(start..).filter(|_| length < 1200 || length % 97 == 0) {
                assert_eq!(append(0, part), slow(0, part), "{start}..{length}");
                assert_eq!(append(append(0, &all[..start]), part), expected);
            }
            if let Some((first, second)) = all.split_last_chunk::<20>() {
                assert_eq!(of_two(first, second), expected, "{length}");
                pieces += 1;
            }
            expected = slow(expected, &[*byte]);
        }
        assert!(pieces > 10_000);
        assert_eq!(append(0, b"123456789"), 0xE306_9283);
    }
}
