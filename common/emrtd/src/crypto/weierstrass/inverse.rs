//! Inverses modulo an odd number by division steps (Bernstein and Yang, "Fast constant-time gcd
//! computation and modular inversion", 2019), in the variable-time form: trailing zeros are
//! skipped at once. It costs a tenth of the power that Fermat's theorem would take, which would
//! be a third of a whole verification with tables.

/// Limbs of 62 bits with a signed highest one; ten hold the largest field with room for the sign.
const MAX_LIMBS: usize = 10;
const LOW_62: u64 = u64::MAX >> 2;

type Signed = [i64; MAX_LIMBS];

pub(super) struct Inverter {
    modulus: Signed,
    limbs: usize,
    /// 1/m modulo 2^62.
    inverse: u64,
}

/// 62 division steps as a matrix: f' = (u·f + v·g) / 2^62, g' = (q·f + r·g) / 2^62.
struct Steps {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

impl Inverter {
    /// For a modulus and its inverse modulo 2^64.
    pub fn new<const L: usize>(modulus: &[u64; L], inverse: u64) -> Inverter {
        Inverter { modulus: to_signed(modulus), limbs: (64 * L).div_ceil(62), inverse: inverse & LOW_62 }
    }

    /// The inverse of a number below the modulus; zero for zero.
    pub fn invert<const L: usize>(&self, number: &[u64; L]) -> [u64; L] {
        let mut d: Signed = [0; MAX_LIMBS];
        let mut e: Signed = [0; MAX_LIMBS];
        e[0] = 1;
        let mut f = self.modulus;
        let mut g: Signed = to_signed(number);
        let mut eta = -1;
        let mut length = self.limbs;
        loop {
            let steps;
            (steps, eta) = divide(eta, f[0] as u64, g[0] as u64);
            self.apply_modulo(&mut d, &mut e, &steps);
            apply(&mut f, &mut g, &steps, length);
            if g[..length].iter().all(|limb| *limb == 0) {
                break;
            }
            // A highest limb that is only a sign moves into the one below it.
            let (f_top, g_top) = (f[length - 1], g[length - 1]);
            if length >= 2 && (f_top ^ f_top >> 63) | (g_top ^ g_top >> 63) == 0 {
                f[length - 2] |= ((f_top as u64) << 62) as i64;
                g[length - 2] |= ((g_top as u64) << 62) as i64;
                length -= 1;
            }
        }
        // f is the greatest common divisor by now, 1 or -1; for zero it is the modulus, and d is zero.
        self.normalise(&mut d, f[length - 1] < 0);
        from_signed(&d)
    }

    /// The same matrix on (d, e) modulo m; both stay above -2m and below m.
    fn apply_modulo(&self, d: &mut Signed, e: &mut Signed, steps: &Steps) {
        let Steps { u, v, q, r } = *steps;
        let m = &self.modulus;
        let (d_sign, e_sign) = (d[self.limbs - 1] >> 63, e[self.limbs - 1] >> 63);
        // As many times m as makes the sums positive where d and e are negative, and then as
        // makes their lowest limb zero.
        let mut d_times = (u & d_sign) + (v & e_sign);
        let mut e_times = (q & d_sign) + (r & e_sign);
        let mut d_sum = product(u, d[0]) + product(v, e[0]);
        let mut e_sum = product(q, d[0]) + product(r, e[0]);
        let correction =
            |sum: i128, times: i64| (self.inverse.wrapping_mul(sum as u64).wrapping_add(times as u64) & LOW_62) as i64;
        d_times -= correction(d_sum, d_times);
        e_times -= correction(e_sum, e_times);
        d_sum = (d_sum + product(m[0], d_times)) >> 62;
        e_sum = (e_sum + product(m[0], e_times)) >> 62;
        for j in 1..self.limbs {
            d_sum += product(u, d[j]) + product(v, e[j]) + product(m[j], d_times);
            e_sum += product(q, d[j]) + product(r, e[j]) + product(m[j], e_times);
            d[j - 1] = (d_sum as u64 & LOW_62) as i64;
            e[j - 1] = (e_sum as u64 & LOW_62) as i64;
            d_sum >>= 62;
            e_sum >>= 62;
        }
        d[self.limbs - 1] = d_sum as i64;
        e[self.limbs - 1] = e_sum as i64;
    }

    /// From above -2m and below m, negated or not, to zero or more and below m.
    fn normalise(&self, number: &mut Signed, negate: bool) {
        self.add_if(number, number[self.limbs - 1] < 0);
        if negate {
            number.iter_mut().for_each(|limb| *limb = -*limb);
            self.carry(number);
        }
        self.add_if(number, number[self.limbs - 1] < 0);
    }

    fn add_if(&self, number: &mut Signed, condition: bool) {
        if condition {
            for (limb, m) in number.iter_mut().zip(&self.modulus) {
                *limb += m;
            }
            self.carry(number);
        }
    }

    fn carry(&self, number: &mut Signed) {
        for j in 1..self.limbs {
            number[j] += number[j - 1] >> 62;
            number[j - 1] &= LOW_62 as i64;
        }
    }
}

/// 62 division steps on the lowest 62 bits of f and g.
fn divide(mut eta: i64, mut f: u64, mut g: u64) -> (Steps, i64) {
    let (mut u, mut v, mut q, mut r) = (1u64, 0u64, 0u64, 1u64);
    let mut left = 62u32;
    loop {
        let zeros = (g | u64::MAX << left).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            break;
        }
        let times;
        if eta < 0 {
            eta = -eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
            // Six bits of g at once, or as many as there are before f and g change places.
            times = f.wrapping_mul(g).wrapping_mul(f.wrapping_mul(f).wrapping_sub(2)) & mask(eta, left) & 63;
        } else {
            // Four bits, by the inverse of f modulo 16.
            let inverse = f.wrapping_add((f.wrapping_add(1) & 4) << 1);
            times = inverse.wrapping_neg().wrapping_mul(g) & mask(eta, left) & 15;
        }
        g = g.wrapping_add(f.wrapping_mul(times));
        q = q.wrapping_add(u.wrapping_mul(times));
        r = r.wrapping_add(v.wrapping_mul(times));
    }
    (Steps { u: u as i64, v: v as i64, q: q as i64, r: r as i64 }, eta)
}

/// As many low bits as there are steps until the next change of places, or at all.
fn mask(eta: i64, left: u32) -> u64 {
    let limit = (eta + 1).min(i64::from(left)) as u32;
    u64::MAX >> (64 - limit)
}

fn apply(f: &mut Signed, g: &mut Signed, steps: &Steps, length: usize) {
    let Steps { u, v, q, r } = *steps;
    let mut f_sum = (product(u, f[0]) + product(v, g[0])) >> 62;
    let mut g_sum = (product(q, f[0]) + product(r, g[0])) >> 62;
    for j in 1..length {
        f_sum += product(u, f[j]) + product(v, g[j]);
        g_sum += product(q, f[j]) + product(r, g[j]);
        f[j - 1] = (f_sum as u64 & LOW_62) as i64;
        g[j - 1] = (g_sum as u64 & LOW_62) as i64;
        f_sum >>= 62;
        g_sum >>= 62;
    }
    f[length - 1] = f_sum as i64;
    g[length - 1] = g_sum as i64;
}

fn product(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

fn to_signed<const L: usize>(number: &[u64; L]) -> Signed {
    std::array::from_fn(|j| {
        let (limb, shift) = (62 * j / 64, 62 * j % 64);
        let low = number.get(limb).map_or(0, |limb| limb >> shift);
        // Only from a shift of 3 on the limb above has a part in these 62 bits.
        let high = if shift > 2 { number.get(limb + 1).map_or(0, |limb| limb << (64 - shift)) } else { 0 };
        ((low | high) & LOW_62) as i64
    })
}

fn from_signed<const L: usize>(number: &Signed) -> [u64; L] {
    let mut out = [0; L];
    for (j, limb) in number.iter().enumerate() {
        let (at, shift) = (62 * j / 64, 62 * j % 64);
        if let Some(out) = out.get_mut(at) {
            *out |= (*limb as u64) << shift;
        }
        if shift > 2
            && let Some(out) = out.get_mut(at + 1)
        {
            *out |= *limb as u64 >> (64 - shift);
        }
    }
    out
}
