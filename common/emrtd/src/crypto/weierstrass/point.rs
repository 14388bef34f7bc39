//! The group law in Jacobian coordinates (Bernstein and Lange, Explicit-Formulas Database:
//! `dbl-2001-b` in essence, `madd`), with every exceptional case answered.

use super::Weierstrass;

#[derive(Clone, Copy)]
pub(super) struct Affine<const L: usize> {
    pub x: [u64; L],
    pub y: [u64; L],
}

/// x/z², y/z³; z is zero at infinity.
#[derive(Clone, Copy)]
pub(super) struct Jacobian<const L: usize> {
    pub x: [u64; L],
    pub y: [u64; L],
    pub z: [u64; L],
}

impl<const L: usize> Weierstrass<L> {
    pub fn infinity(&self) -> Jacobian<L> {
        Jacobian { x: self.field.one, y: self.field.one, z: [0; L] }
    }

    #[inline]
    pub fn negate(&self, point: &Affine<L>) -> Affine<L> {
        Affine { x: point.x, y: self.field.negate(&point.y) }
    }

    pub fn double(&self, p: &Jacobian<L>) -> Jacobian<L> {
        let f = &self.field;
        if p.z == [0; L] {
            return *p;
        }
        let zz = f.square(&p.z);
        let yy = f.square(&p.y);
        let slope = if self.a_is_minus_three {
            let product = f.mul(&f.sub(&p.x, &zz), &f.add(&p.x, &zz));
            f.add(&f.double(&product), &product)
        } else {
            let xx = f.square(&p.x);
            f.add(&f.add(&f.double(&xx), &xx), &f.mul(&self.a, &f.square(&zz)))
        };
        let s = f.double(&f.double(&f.mul(&p.x, &yy)));
        let x = f.sub(&f.square(&slope), &f.double(&s));
        let yyyy8 = f.double(&f.double(&f.double(&f.square(&yy))));
        let y = f.sub(&f.mul(&slope, &f.sub(&s, &x)), &yyyy8);
        let z = f.double(&f.mul(&p.y, &p.z));
        Jacobian { x, y, z }
    }

    pub fn add_affine(&self, p: &Jacobian<L>, q: &Affine<L>) -> Jacobian<L> {
        let f = &self.field;
        if p.z == [0; L] {
            return Jacobian { x: q.x, y: q.y, z: f.one };
        }
        let zz = f.square(&p.z);
        let h = f.sub(&f.mul(&q.x, &zz), &p.x);
        let r = f.sub(&f.mul(&q.y, &f.mul(&zz, &p.z)), &p.y);
        if h == [0; L] {
            return if r == [0; L] { self.double(p) } else { self.infinity() };
        }
        let hh = f.square(&h);
        let hhh = f.mul(&h, &hh);
        let v = f.mul(&p.x, &hh);
        let x = f.sub(&f.sub(&f.square(&r), &hhh), &f.double(&v));
        let y = f.sub(&f.mul(&r, &f.sub(&v, &x)), &f.mul(&p.y, &hhh));
        Jacobian { x, y, z: f.mul(&p.z, &h) }
    }

    /// 1P, 3P, 5P, … for a window of so many bits.
    pub fn odd_multiples(&self, point: &Affine<L>, window: usize) -> Vec<Affine<L>> {
        let single = Jacobian { x: point.x, y: point.y, z: self.field.one };
        let Some(doubled) = self.normalise(&[self.double(&single)]).pop() else {
            return vec![*point];
        };
        let mut last = single;
        let mut multiples = vec![single];
        for _ in 1..1usize << (window - 2) {
            last = self.add_affine(&last, &doubled);
            multiples.push(last);
        }
        self.normalise(&multiples)
    }

    /// Affine forms after a single inversion, of points none of which is at infinity: the order is
    /// prime, and a test shows that no multiple in a table is one of it.
    pub fn normalise(&self, points: &[Jacobian<L>]) -> Vec<Affine<L>> {
        let f = &self.field;
        let mut products = Vec::with_capacity(points.len());
        let mut product = f.one;
        for point in points {
            products.push(product);
            product = f.mul(&product, &point.z);
        }
        let mut inverse = f.invert_entered(&product);
        let mut affine: Vec<Affine<L>> = points
            .iter()
            .zip(&products)
            .rev()
            .map(|(point, before)| {
                let z = f.mul(&inverse, before);
                inverse = f.mul(&inverse, &point.z);
                let zz = f.square(&z);
                Affine { x: f.mul(&point.x, &zz), y: f.mul(&point.y, &f.mul(&zz, &z)) }
            })
            .collect();
        affine.reverse();
        affine
    }
}
