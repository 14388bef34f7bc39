//! Diffie-Hellman in the known groups of integers: RFC 5114 sections 2.1 to 2.3, and RFC 3526
//! groups 5 and 14 to 18.
//!
//! A group that a chip brings itself is refused: its order could be smooth, and then anybody who
//! has seen one exchange computes the private key. The exponent may be secret: the
//! exponentiation is the constant-time one of crypto-bigint, whose time depends on the length of
//! the exponent's encoding alone.

use crypto_bigint::{
    BoxedUint, JacobiSymbol, Odd, Resize, U2048, U4096, U8192, Uint,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use zeroize::Zeroizing;

use super::curve::bytes;
use crate::asn1::strip_zeros;

/// A known group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// RFC 5114 section 2.1.
    Modp1024Subgroup160,
    /// RFC 5114 section 2.2.
    Modp2048Subgroup224,
    /// RFC 5114 section 2.3.
    Modp2048Subgroup256,
    /// RFC 3526 group 5.
    Modp1536,
    /// RFC 3526 group 14.
    Modp2048,
    /// RFC 3526 group 15.
    Modp3072,
    /// RFC 3526 group 16.
    Modp4096,
    /// RFC 3526 group 17.
    Modp6144,
    /// RFC 3526 group 18.
    Modp8192,
}

impl Group {
    /// The group with exactly these numbers. PKCS #3 parameters have no subgroup order.
    pub fn by_numbers(p: &[u8], g: &[u8], q: Option<&[u8]>) -> Option<Group> {
        let same = |number: &[u8], known: &[u8]| strip_zeros(number) == strip_zeros(known);
        TABLE
            .iter()
            .find(|known| {
                same(p, &bytes(known.p))
                    && same(g, &bytes(known.g))
                    && q.is_none_or(|q| same(q, &known.order().to_be_bytes()))
            })
            .map(|known| known.group)
    }

    /// Such as `RFC 5114 section 2.3`.
    pub fn name(self) -> &'static str {
        match self {
            Group::Modp1024Subgroup160 => "RFC 5114 section 2.1",
            Group::Modp2048Subgroup224 => "RFC 5114 section 2.2",
            Group::Modp2048Subgroup256 => "RFC 5114 section 2.3",
            Group::Modp1536 => "RFC 3526 group 5",
            Group::Modp2048 => "RFC 3526 group 14",
            Group::Modp3072 => "RFC 3526 group 15",
            Group::Modp4096 => "RFC 3526 group 16",
            Group::Modp6144 => "RFC 3526 group 17",
            Group::Modp8192 => "RFC 3526 group 18",
        }
    }

    /// Octets of an element.
    pub fn size(self) -> usize {
        self.parameters().p.len() / 2
    }

    /// Octets of the order.
    pub fn order_size(self) -> usize {
        match self.parameters().q {
            "" => self.size(),
            q => q.len() / 2,
        }
    }

    /// A number as an element of the subgroup of prime order, of the group's size; not the
    /// neutral one, nor one outside the subgroup (RFC 2631 section 2.1.5).
    pub fn element(self, number: &[u8]) -> Option<Vec<u8>> {
        let size = self.size();
        let number = strip_zeros(number);
        let padding = size.checked_sub(number.len())?;
        let element = [vec![0; padding], number.to_vec()].concat();
        let value = BoxedUint::from_be_slice(&element, self.precision()).ok()?;
        let field = self.field()?;
        let one = BoxedUint::one_with_precision(self.precision());
        if value <= one || value >= *field.modulus().as_ref() {
            return None;
        }
        let of_prime_order = if self.parameters().q.is_empty() {
            // The squares are the subgroup of order (p - 1)/2, and the symbol of Legendre tells
            // them in a fraction of the time: a DG14 that nobody signed yet may be full of these.
            is_square(&element, &bytes(self.parameters().p))?
        } else {
            BoxedMontyForm::new(value, &field).pow(&self.parameters().order()).retrieve() == one
        };
        of_prime_order.then_some(element)
    }

    /// The generator to the exponent, or a checked element to it: an element of the group's
    /// size, and never the neutral one.
    pub fn power(self, element: Option<&[u8]>, exponent: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let field = self.field()?;
        let base = match element {
            Some(element) => BoxedUint::from_be_slice(element, self.precision()).ok()?,
            None => BoxedUint::from_be_slice_vartime(&bytes(self.parameters().g)).resize(self.precision()),
        };
        let bits = u32::try_from(exponent.len() * 8).ok()?;
        if bits == 0 || bits > self.precision() {
            return None;
        }
        let exponent = Zeroizing::new(BoxedUint::from_be_slice(exponent, bits.next_multiple_of(64)).ok()?);
        let power = BoxedMontyForm::new(base, &field).pow_bounded_exp(&exponent, bits);
        let power = Zeroizing::new(power.retrieve());
        let out = Zeroizing::new(power.to_be_bytes().into_vec());
        // The neutral element says that the exponent was zero, or a multiple of the order.
        let neutral = out.split_last().is_some_and(|(last, rest)| *last <= 1 && rest.iter().all(|octet| *octet == 0));
        (!neutral).then_some(out)
    }

    fn parameters(self) -> &'static Parameters {
        // The table is in the order of the enumeration; a test holds them together.
        &TABLE[self as usize]
    }

    fn precision(self) -> u32 {
        self.size() as u32 * 8
    }

    fn field(self) -> Option<BoxedMontyParams> {
        let p = BoxedUint::from_be_slice(&bytes(self.parameters().p), self.precision()).ok()?;
        Some(BoxedMontyParams::new_vartime(Odd::new(p).into_option()?))
    }
}

/// Whether a public number is a square modulo a prime, both of at most 8192 bits.
fn is_square(number: &[u8], prime: &[u8]) -> Option<bool> {
    // The time grows with the square of the width.
    match prime.len() {
        0..=256 => is_square_of_size::<{ U2048::LIMBS }>(number, prime),
        257..=512 => is_square_of_size::<{ U4096::LIMBS }>(number, prime),
        _ => is_square_of_size::<{ U8192::LIMBS }>(number, prime),
    }
}

fn is_square_of_size<const L: usize>(number: &[u8], prime: &[u8]) -> Option<bool> {
    let fixed = |bytes: &[u8]| {
        let mut out = vec![0; Uint::<L>::BYTES];
        out.get_mut(Uint::<L>::BYTES.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
        Some(Uint::<L>::from_be_slice(&out))
    };
    let prime = Odd::new(fixed(prime)?).into_option()?;
    Some(fixed(number)?.jacobi_symbol_vartime(&prime) == JacobiSymbol::One)
}

/// Numbers of a group, big-endian hexadecimal.
struct Parameters {
    group: Group,
    p: &'static str,
    g: &'static str,
    /// Empty when p is a safe prime: then the order is (p - 1)/2.
    q: &'static str,
}

impl Parameters {
    fn order(&self) -> BoxedUint {
        match self.q {
            "" => BoxedUint::from_be_slice_vartime(&bytes(self.p)).shr(1),
            q => BoxedUint::from_be_slice_vartime(&bytes(q)),
        }
    }
}

static TABLE: [Parameters; 9] = [
    Parameters {
        group: Group::Modp1024Subgroup160,
        p: "\
             b10b8f96a080e01dde92de5eae5d54ec52c99fbcfb06a3c69a6a9dca52d23b616073e28675a23d189838ef1e2ee652c0\
             13ecb4aea906112324975c3cd49b83bfaccbdd7d90c4bd7098488e9c219a73724effd6fae5644738faa31a4ff55bccc0\
             a151af5f0dc8b4bd45bf37df365c1a65e68cfda76d4da708df1fb2bc2e4a4371\
             ",
        g: "\
             a4d1cbd5c3fd34126765a442efb99905f8104dd258ac507fd6406cff14266d31266fea1e5c41564b777e690f5504f213\
             160217b4b01b886a5e91547f9e2749f4d7fbd7d3b9a92ee1909d0d2263f80a76a6a24c087a091f531dbf0a0169b6a28a\
             d662a4d18e73afa32d779d5918d08bc8858f4dcef97c2a24855e6eeb22b3b2e5\
             ",
        q: "f518aa8781a8df278aba4e7d64b7cb9d49462353",
    },
    Parameters {
        group: Group::Modp2048Subgroup224,
        p: "\
             ad107e1e9123a9d0d660faa79559c51fa20d64e5683b9fd1b54b1597b61d0a75e6fa141df95a56dbaf9a3c407ba1df15\
             eb3d688a309c180e1de6b85a1274a0a66d3f8152ad6ac2129037c9edefda4df8d91e8fef55b7394b7ad5b7d0b6c12207\
             c9f98d11ed34dbf6c6ba0b2c8bbc27be6a00e0a0b9c49708b3bf8a317091883681286130bc8985db1602e714415d9330\
             278273c7de31efdc7310f7121fd5a07415987d9adc0a486dcdf93acc44328387315d75e198c641a480cd86a1b9e587e8\
             be60e69cc928b2b9c52172e413042e9b23f10b0e16e79763c9b53dcf4ba80a29e3fb73c16b8e75b97ef363e2ffa31f71\
             cf9de5384e71b81c0ac4dffe0c10e64f\
             ",
        g: "\
             ac4032ef4f2d9ae39df30b5c8ffdac506cdebe7b89998caf74866a08cfe4ffe3a6824a4e10b9a6f0dd921f01a70c4afa\
             ab739d7700c29f52c57db17c620a8652be5e9001a8d66ad7c17669101999024af4d027275ac1348bb8a762d0521bc98a\
             e247150422ea1ed409939d54da7460cdb5f6c6b250717cbef180eb34118e98d119529a45d6f834566e3025e316a330ef\
             bb77a86f0c1ab15b051ae3d428c8f8acb70a8137150b8eeb10e183edd19963ddd9e263e4770589ef6aa21e7f5f2ff381\
             b539cce3409d13cd566afbb48d6c019181e1bcfe94b30269edfe72fe9b6aa4bd7b5a0f1c71cfff4c19c418e1f6ec0179\
             81bc087f2a7065b384b890d3191f2bfa\
             ",
        q: "801c0d34c58d93fe997177101f80535a4738cebcbf389a99b36371eb",
    },
    Parameters {
        group: Group::Modp2048Subgroup256,
        p: "\
             87a8e61db4b6663cffbbd19c651959998ceef608660dd0f25d2ceed4435e3b00e00df8f1d61957d4faf7df4561b2aa30\
             16c3d91134096faa3bf4296d830e9a7c209e0c6497517abd5a8a9d306bcf67ed91f9e6725b4758c022e0b1ef4275bf7b\
             6c5bfc11d45f9088b941f54eb1e59bb8bc39a0bf12307f5c4fdb70c581b23f76b63acae1caa6b7902d52526735488a0e\
             f13c6d9a51bfa4ab3ad8347796524d8ef6a167b5a41825d967e144e5140564251ccacb83e6b486f6b3ca3f7971506026\
             c0b857f689962856ded4010abd0be621c3a3960a54e710c375f26375d7014103a4b54330c198af126116d2276e11715f\
             693877fad7ef09cadb094ae91e1a1597\
             ",
        g: "\
             3fb32c9b73134d0b2e77506660edbd484ca7b18f21ef205407f4793a1a0ba12510dbc15077be463fff4fed4aac0bb555\
             be3a6c1b0c6b47b1bc3773bf7e8c6f62901228f8c28cbb18a55ae31341000a650196f931c77a57f2ddf463e5e9ec144b\
             777de62aaab8a8628ac376d282d6ed3864e67982428ebc831d14348f6f2f9193b5045af2767164e1dfc967c1fb3f2e55\
             a4bd1bffe83b9c80d052b985d182ea0adb2a3b7313d3fe14c8484b1e052588b9b7d2bbd2df016199ecd06e1557cd0915\
             b3353bbb64e0ec377fd028370df92b52c7891428cdc67eb6184b523d1db246c32f63078490f00ef8d647d148d4795451\
             5e2327cfef98c582664b4c0f6cc41659\
             ",
        q: "8cf83642a709a097b447997640129da299b1a47d1eb3750ba308b0fe64f5fbd3",
    },
    Parameters {
        group: Group::Modp1536,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca237327ffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
    Parameters {
        group: Group::Modp2048,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
             e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
             15728e5a8aacaa68ffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
    Parameters {
        group: Group::Modp3072,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
             e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
             15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
             abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
             bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
    Parameters {
        group: Group::Modp4096,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
             e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
             15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
             abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
             bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7\
             88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6\
             287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9\
             93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
    Parameters {
        group: Group::Modp6144,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
             e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
             15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
             abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
             bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7\
             88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6\
             287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9\
             93b4ea988d8fddc186ffb7dc90a6c08f4df435c93402849236c3fab4d27c7026c1d4dcb2602646dec9751e763dba37bd\
             f8ff9406ad9e530ee5db382f413001aeb06a53ed9027d831179727b0865a8918da3edbebcf9b14ed44ce6cbaced4bb1b\
             db7f1447e6cc254b332051512bd7af426fb8f401378cd2bf5983ca01c64b92ecf032ea15d1721d03f482d7ce6e74fef6\
             d55e702f46980c82b5a84031900b1c9e59e7c97fbec7e8f323a97a7e36cc88be0f1d45b7ff585ac54bd407b22b4154aa\
             cc8f6d7ebf48e1d814cc5ed20f8037e0a79715eef29be32806a1d58bb7c5da76f550aa3d8a1fbff0eb19ccb1a313d55c\
             da56c9ec2ef29632387fe8d76e3c0468043e8f663f4860ee12bf2d5b0b7474d6e694f91e6dcc4024ffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
    Parameters {
        group: Group::Modp8192,
        p: "\
             ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
             ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
             ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
             83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
             e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
             15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
             abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
             bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7\
             88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6\
             287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9\
             93b4ea988d8fddc186ffb7dc90a6c08f4df435c93402849236c3fab4d27c7026c1d4dcb2602646dec9751e763dba37bd\
             f8ff9406ad9e530ee5db382f413001aeb06a53ed9027d831179727b0865a8918da3edbebcf9b14ed44ce6cbaced4bb1b\
             db7f1447e6cc254b332051512bd7af426fb8f401378cd2bf5983ca01c64b92ecf032ea15d1721d03f482d7ce6e74fef6\
             d55e702f46980c82b5a84031900b1c9e59e7c97fbec7e8f323a97a7e36cc88be0f1d45b7ff585ac54bd407b22b4154aa\
             cc8f6d7ebf48e1d814cc5ed20f8037e0a79715eef29be32806a1d58bb7c5da76f550aa3d8a1fbff0eb19ccb1a313d55c\
             da56c9ec2ef29632387fe8d76e3c0468043e8f663f4860ee12bf2d5b0b7474d6e694f91e6dbe115974a3926f12fee5e4\
             38777cb6a932df8cd8bec4d073b931ba3bc832b68d9dd300741fa7bf8afc47ed2576f6936ba424663aab639c5ae4f568\
             3423b4742bf1c978238f16cbe39d652de3fdb8befc848ad922222e04a4037c0713eb57a81a23f0c73473fc646cea306b\
             4bcbc8862f8385ddfa9d4b7fa2c087e879683303ed5bdd3a062b3cf5b3a278a66d2a13f83f44f82ddf310ee074ab6a36\
             4597e899a0255dc164f31cc50846851df9ab48195ded7ea1b1d510bd7ee74d73faf36bc31ecfa268359046f4eb879f92\
             4009438b481c6cd7889a002ed5ee382bc9190da6fc026e479558e4475677e9aa9e3050e2765694dfc81f56e880b96e71\
             60c980dd98edd3dfffffffffffffffff\
             ",
        g: "02",
        q: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `pow`: group, exponent, its power of the generator, another element,
    /// and that element to the exponent.
    const VECTORS: &str = include_str!("diffie_hellman_vectors.txt");

    const NAMES: [(&str, Group); 9] = [
        ("RFC_5114_2.1", Group::Modp1024Subgroup160),
        ("RFC_5114_2.2", Group::Modp2048Subgroup224),
        ("RFC_5114_2.3", Group::Modp2048Subgroup256),
        ("RFC_3526_5", Group::Modp1536),
        ("RFC_3526_14", Group::Modp2048),
        ("RFC_3526_15", Group::Modp3072),
        ("RFC_3526_16", Group::Modp4096),
        ("RFC_3526_17", Group::Modp6144),
        ("RFC_3526_18", Group::Modp8192),
    ];

    #[test]
    fn powers_are_those_of_another_implementation() {
        let mut seen = vec![];
        for line in VECTORS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let group = NAMES.iter().find(|(name, _)| *name == fields[0]).unwrap().1;
            let [exponent, own, other, shared] = [1, 2, 3, 4].map(|index: usize| hex::decode(fields[index]).unwrap());
            assert_eq!(*group.power(None, &exponent).unwrap(), own);
            assert_eq!(*group.power(Some(&other), &exponent).unwrap(), shared);
            assert_eq!(group.element(&other), Some(other));
            seen.push(group);
        }
        for (name, group) in NAMES {
            assert!(seen.contains(&group), "{name}");
        }
    }

    #[test]
    fn groups_are_recognised_by_every_number() {
        for (index, (_, group)) in NAMES.iter().enumerate() {
            assert_eq!(*group as usize, index);
            let parameters = group.parameters();
            assert_eq!(parameters.group, *group);
            let (p, g, q) = (bytes(parameters.p), bytes(parameters.g), parameters.order().to_be_bytes());
            assert_eq!(Group::by_numbers(&p, &g, None), Some(*group));
            assert_eq!(Group::by_numbers(&p, &g, Some(&q)), Some(*group));
            let changed = |number: &[u8]| {
                let mut other = number.to_vec();
                *other.last_mut().unwrap() ^= 4;
                other
            };
            assert_eq!(Group::by_numbers(&changed(&p), &g, Some(&q)), None);
            assert_eq!(Group::by_numbers(&p, &changed(&g), Some(&q)), None);
            assert_eq!(Group::by_numbers(&p, &g, Some(&changed(&q))), None);
        }
    }

    #[test]
    fn elements_outside_the_subgroup_are_refused() {
        for (name, group) in NAMES {
            let p = bytes(group.parameters().p);
            let mut minus_one = p.clone();
            *minus_one.last_mut().unwrap() -= 1;
            // -g has twice the order of g.
            let g = BoxedUint::from_be_slice_vartime(&bytes(group.parameters().g)).resize(group.precision());
            let minus_g = BoxedUint::from_be_slice(&p, group.precision()).unwrap().wrapping_sub(&g).to_be_bytes();
            for bad in [&[][..], &[0], &[1], &minus_one, &p, &minus_g, &[&[1][..], &p].concat()] {
                assert_eq!(group.element(bad), None, "{name}");
            }
            assert!(group.element(&g.to_be_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn squares_are_told_as_by_the_power_of_the_order() {
        let group = Group::Modp1536;
        let (field, order) = (group.field().unwrap(), group.parameters().order());
        let p = BoxedUint::from_be_slice(&bytes(group.parameters().p), group.precision()).unwrap();
        let of_order = |value: BoxedUint| {
            let raised = BoxedMontyForm::new(value.clone(), &field).pow(&order).retrieve();
            let of_order = raised == BoxedUint::one_with_precision(group.precision());
            assert_eq!(group.element(&value.to_be_bytes()).is_some(), of_order, "{value:?}");
            of_order
        };
        for number in 2..20 {
            let value = BoxedUint::from_be_slice(&[number], group.precision()).unwrap();
            // -1 is no square modulo these primes.
            assert_ne!(of_order(p.wrapping_sub(&value)), of_order(value));
        }
    }

    #[test]
    fn exponents_that_give_the_neutral_element_are_refused() {
        let group = Group::Modp1024Subgroup160;
        for bad in [&[][..], &[0], &[0; 20], &group.parameters().order().to_be_bytes(), &[1; 129]] {
            assert!(group.power(None, bad).is_none());
        }
        assert!(group.power(None, &[2]).is_some());
    }
}
