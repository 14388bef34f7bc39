//! Inputs made to be slow or large in memory, for every parser: one family per way in which a parser could take more than
//! linear time or believe a length.

use crate::mint::*;

/// The name of a target of `proofmill_emrtd::fuzzing`, what is hostile, and the bytes.
pub struct Hostile {
    pub target: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

const TARGETS: [&str; 10] =
    ["sod", "certificate", "crl", "master_list", "dg1", "dg2", "dg14", "dg15", "card_security", "ec_parameters"];

/// Every family, of some `size` octets each.
pub fn all(size: usize) -> Vec<Hostile> {
    let mut out = Vec::new();
    for target in TARGETS {
        for (name, body) in shapes(size) {
            out.push(Hostile { target, name, bytes: body.clone() });
            out.push(Hostile { target, name, bytes: tlv4(outer(target), &body) });
        }
    }
    for target in ["sod", "master_list", "card_security"] {
        for (name, bytes) in signed_data(target, size) {
            out.push(Hostile { target, name, bytes });
        }
    }
    let group = |target, cases: Vec<(&'static str, Vec<u8>)>| {
        cases.into_iter().map(move |(name, bytes)| Hostile { target, name, bytes })
    };
    out.extend(group("certificate", certificates(size)));
    out.extend(group("crl", crls(size)));
    out.extend(group("dg2", faces(size)));
    out.extend(group("dg14", security_options(size)));
    out.extend(group("dg15", keys(size).into_iter().map(|(name, spki)| (name, tlv4(0x6f, &spki))).collect()));
    out.extend(group("ec_parameters", keys(size)));
    out.push(Hostile {
        target: "dg1",
        name: "a zone of a mebibyte",
        bytes: tlv4(0x61, &tag2([0x5f, 0x1f], &vec![b'<'; size])),
    });
    out
}

fn outer(target: &str) -> u8 {
    match target {
        "sod" => 0x77,
        "dg1" => 0x61,
        "dg2" => 0x75,
        "dg14" => 0x6e,
        "dg15" => 0x6f,
        _ => 0x30,
    }
}

/// With a length of four octets, as long as it is.
pub fn tlv4(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, 0x84];
    out.extend((body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn tag2(tag: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&tag[..1], &tlv4(tag[1], body)].concat()
}

fn fill(size: usize, unit: &[u8]) -> Vec<u8> {
    unit.repeat(size / unit.len() + 1)
}

/// What needs no structure around it.
fn shapes(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut nested = Vec::new();
    while nested.len() < size.min(60_000) {
        nested = tlv4(0x30, &nested);
    }
    let indefinite =
        |levels: usize, body: &[u8]| [&[0x30, 0x80].repeat(levels)[..], body, &[0, 0].repeat(levels)].concat();
    vec![
        ("nested without end", fill(size, &[0x30, 0x80])),
        ("nested by definite lengths", nested),
        ("eleven indefinite levels around much", indefinite(11, &fill(size, &[5, 0]))),
        ("many indefinite elements", indefinite(1, &fill(size, &[0x31, 0x80, 0, 0]))),
        ("many elements of nothing", fill(size, &[5, 0])),
        ("an octet string in single octets", [&[0x24, 0x80][..], &fill(size, &[4, 1, 7]), &[0, 0]].concat()),
        ("strings in strings", fill(size, &[0x24, 0x80])),
        ("lengths of four gigabytes", fill(size, &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff])),
        ("lengths of 127 octets", [&[0x30, 0xff][..], &vec![0; size]].concat()),
        ("a tag without end", vec![0xff; size]),
        ("zeros", vec![0; size]),
    ]
}

/// CMS with too much of one thing.
fn signed_data(target: &str, size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let content_type = match target {
        "sod" => LDS,
        "master_list" => MASTER_LIST,
        _ => "0.4.0.127.0.7.3.2.1",
    };
    let key = p256(1);
    let csca = Certificate::csca("UT", &key);
    let digest = digest_identifier(proofmill_emrtd::crypto::digest::Digest::Sha256);
    let sod = Sod {
        content_type: content_type.into(),
        content_type_attribute: content_type.into(),
        ..Sod::new(&csca, &[(1, b"one"), (2, b"two")])
    };
    let file = |digests: &[u8], content: &[u8], certificates: &[u8], lists: &[u8], signers: &[u8]| {
        let encapsulated = tlv4(0x30, &[&oid(content_type)[..], &tlv4(0xa0, content)].concat());
        let parts = [
            &int(3)[..],
            &tlv4(0x31, digests),
            &encapsulated,
            &tlv4(0xa0, certificates),
            &tlv4(0xa1, lists),
            &tlv4(0x31, signers),
        ]
        .concat();
        let info = tlv4(0x30, &[&oid("1.2.840.113549.1.7.2")[..], &tlv4(0xa0, &tlv4(0x30, &parts))].concat());
        if target == "sod" { tlv4(0x77, &info) } else { info }
    };
    let (content, certificate, signer) = (octets(&sod.content()), csca.der(), sod.signer());
    let nobody = certificate.clone();
    let named = |attributes: &[u8], identifier: &[u8]| {
        let parts = [
            &int(1)[..],
            identifier,
            &digest,
            &tlv4(0xa0, attributes),
            &key.algorithm(),
            &octets(&[0x30, 6, 2, 1, 1, 2, 1, 1]),
        ]
        .concat();
        tlv4(0x30, &parts)
    };
    let own = issuer_and_serial(&csca);
    let message_digest = sod.digest.compute(&[&sod.content()]);
    let required = [
        seq(&[&oid("1.2.840.113549.1.9.3"), &set(&[&oid(content_type)])]),
        seq(&[&oid("1.2.840.113549.1.9.4"), &set(&[&octets(message_digest.as_ref())])]),
    ]
    .concat();
    let attribute = |number: u16| seq(&[&oid(&format!("1.2.3.{number}")), &set(&[])]);
    let many: Vec<u8> = (0..(size / 12) as u32).rev().flat_map(|number| attribute((number % 16_000) as u16)).collect();
    let long_name = seq(&[&seq(&[&fill(size, &set(&[&seq(&[&oid("2.5.4.3"), &tlv(0x0c, b"x")])]))]), &int(1)]);
    let chunks = [&[0x24, 0x80][..], &fill(size, &[4, 1, 7]), &[0, 0]].concat();
    let hashes = fill(size, &seq(&[&int(1), &octets(&[0; 32])]));
    let lds = octets(&tlv4(0x30, &[&int(0)[..], &digest, &tlv4(0x30, &hashes)].concat()));
    let other_name = Certificate { issuer: name("XX", "nobody"), ..csca.clone() }.der();
    vec![
        ("many digest algorithms", file(&fill(size, &digest), &content, &nobody, &[], &signer)),
        ("a content in single octets", file(&digest, &chunks, &nobody, &[], &signer)),
        ("many hashes of one group", file(&digest, &lds, &nobody, &[], &signer)),
        ("many certificates of nothing", file(&digest, &content, &fill(size, &[0x30, 0]), &[], &signer)),
        ("many certificates", file(&digest, &content, &fill(size, &certificate), &[], &signer)),
        ("many certificates of others", file(&digest, &content, &fill(size, &other_name), &[], &signer)),
        ("many revocation lists", file(&digest, &content, &nobody, &fill(size, &[0x30, 0]), &signer)),
        ("many signers", file(&digest, &content, &nobody, &[], &fill(size, &signer))),
        ("many attributes", file(&digest, &content, &nobody, &[], &named(&[&required[..], &many].concat(), &own))),
        (
            "many attributes for four signers and their certificates",
            file(
                &digest,
                &content,
                &fill(size / 4, &certificate),
                &[],
                &named(&[&required[..], &many].concat(), &own).repeat(4),
            ),
        ),
        ("a long issuer name", file(&digest, &content, &nobody, &[], &named(&required, &long_name))),
    ]
}

/// A store with twenty authorities of one name, and a SOD that makes it look for the issuer of as many certificates as
/// it can: their signer verifies every signature and none has a chain.
pub fn chains() -> (proofmill_emrtd::TrustStore, Vec<u8>) {
    use proofmill_emrtd::crypto::digest::Digest;
    let authority = |seed| ec(Secret::Bp384(seed), Digest::Sha384);
    let mut builder = proofmill_emrtd::TrustStoreBuilder::new();
    for seed in 1..=20 {
        builder.add_csca(&Certificate::csca("UT", &authority(seed)).der(), "test").unwrap();
    }
    let dsc = Certificate::dsc("UT", &p256(2), &authority(99));
    let plain = Sod::new(&dsc, &[(1, b"one"), (2, b"two")]);
    let mut sod = plain.clone();
    sod.certificates.clear();
    for signer in 0..4u8 {
        let mut certificates = (0..8).map(|number| Certificate {
            serial: vec![signer + 1],
            not_after: format!("33040100000{number}Z"),
            ..dsc.clone()
        });
        if signer < 3 {
            let identifier = issuer_and_serial(&certificates.clone().next().unwrap());
            sod.other_signers.push(Sod { signer_identifier: identifier, ..plain.clone() }.signer());
        } else {
            sod.signer_identifier = issuer_and_serial(&certificates.clone().next().unwrap());
        }
        sod.certificates.extend(certificates.by_ref().map(|certificate| certificate.der()));
    }
    (builder.build(1), sod.der())
}

fn certificates(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let csca = Certificate::csca("UT", &p256(1));
    let rdn = |text: &[u8]| seq(&[&oid("2.5.4.3"), &tlv4(0x0c, text)]);
    let many = |unit: &[u8]| fill(size, unit);
    let named = |subject: Vec<u8>| Certificate { subject, ..csca.clone() }.der();
    let extended = |extensions: Vec<Vec<u8>>| Certificate { extensions, ..csca.clone() }.der();
    let purposes = seq(&[&many(&oid("1.2.3.4"))]);
    let different: Vec<Vec<u8>> = (0..size / 16)
        .map(|number| extension(&format!("1.2.{}.{}", number / 16_000, number % 16_000), false, &[]))
        .collect();
    vec![
        ("many relative names", named(seq(&[&many(&set(&[&rdn(b"x")]))]))),
        ("a relative name of many parts", named(seq(&[&set(&[&many(&rdn(b"x"))])]))),
        ("a long name", named(seq(&[&set(&[&rdn(&many(b" "))])]))),
        (
            "a long name in another alphabet",
            named(seq(&[&set(&[&seq(&[&oid("2.5.4.3"), &tlv4(0x1e, &many(&[0, b'A']))])])])),
        ),
        ("many extensions", extended(different)),
        ("one extension often", extended(vec![key_usage(6); size / 14])),
        ("many purposes", extended(vec![extension("2.5.29.37", false, &purposes)])),
        ("a long key identifier", extended(vec![subject_key_identifier(&many(&[7]))])),
        ("a long serial number", Certificate { serial: many(&[7]), ..csca.clone() }.der()),
    ]
}

fn crls(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let list = Crl {
        version: Some(1),
        issuer: name("UT", "CSCA"),
        key: p256(1),
        this_update: "260601000000Z".into(),
        next_update: Some("260901000000Z".into()),
        revoked: vec![],
        extensions: vec![],
    };
    let serials = |count: usize| (1..=count as u32).map(|serial| serial.to_be_bytes().to_vec()).collect::<Vec<_>>();
    vec![
        ("many entries", Crl { revoked: serials(size / 23), ..list.clone() }.der()),
        ("one entry often", Crl { revoked: vec![vec![7]; size / 20], ..list.clone() }.der()),
        ("many extensions", Crl { extensions: vec![extension("1.2.3.4", false, &[]); size / 9], ..list.clone() }.der()),
        ("a long serial number", Crl { revoked: vec![vec![7; size]], ..list }.der()),
    ]
}

fn faces(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let dg2 = |count: u64, templates: &[u8]| tlv4(0x75, &tag2([0x7f, 0x61], &[&int(count)[..], templates].concat()));
    let template = |block: &[u8]| tag2([0x7f, 0x60], &tag2([0x5f, 0x2e], block));
    let record = |count: u16, blocks: &[u8]| [&b"FAC\x00010\x00\0\0\0\0"[..], &count.to_be_bytes(), blocks].concat();
    let block = |length: u32, image: &[u8]| {
        [&length.to_be_bytes()[..], &[0; 16], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], image].concat()
    };
    let image = |bytes: &[u8]| dg2(1, &template(&record(1, &block(0, bytes))));
    let tiny = block(35, &[0xff, 0xd8, 0xff]);
    let representation = {
        let image = [tlv(0x80, JPEG), tlv(0xa1, &tlv(0xa0, &[0x80, 1, 2]))].concat();
        seq(&[&[0x80, 1, 1], &tlv(0xa1, &tlv(0xa0, &tlv(0xa0, &image)))])
    };
    let new = |representations: &[u8]| {
        let version = tlv(0xa0, &[0x80, 1, 3]);
        dg2(1, &template(&tlv4(0x65, &[&version[..], &tlv4(0xa1, representations)].concat())))
    };
    let jp2 = b"\0\0\0\x0cjP  \r\n\x87\n";
    vec![
        ("many templates", dg2(60_000, &fill(size, &template(b"")))),
        ("many templates with an image", dg2(60_000, &fill(size, &template(&record(1, &block(0, JPEG)))))),
        ("many images", dg2(1, &template(&record(u16::MAX, &fill(size, &tiny))))),
        (
            "many images of wrong lengths",
            dg2(1, &template(&record(u16::MAX, &fill(size, &block(999, &[0xff, 0xd8, 0xff]))))),
        ),
        ("many images in one", image(&fill(size, &tiny))),
        ("many representations", new(&fill(size, &representation))),
        ("a representation of many fields", new(&seq(&[&fill(size, &[0x80, 0])]))),
        ("a JPEG of fill octets", image(&[&[0xff, 0xd8][..], &vec![0xff; size]].concat())),
        ("a JPEG of restart markers", image(&[&[0xff, 0xd8][..], &fill(size, &[0xff, 0xd0])].concat())),
        ("a JPEG of empty segments", image(&[&[0xff, 0xd8][..], &fill(size, &[0xff, 0xe1, 0, 2])].concat())),
        ("a JP2 of empty boxes", image(&[&jp2[..], &fill(size, b"\0\0\0\x08free")].concat())),
    ]
}

fn security_options(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let dg14 = |infos: &[u8]| tlv4(0x6e, &tlv4(0x31, infos));
    let spki = p256(3).spki();
    let explicit = Signer { explicit: Some(Parameters::default()), ..p256(3) }.spki();
    vec![
        ("many infos of nothing", dg14(&fill(size, &[0x30, 0]))),
        ("many unknown infos", dg14(&fill(size, &seq(&[&oid("1.2.3.4"), &int(1)])))),
        ("many protocols", dg14(&fill(size, &chip_protocol_info(2, 2, 1, Some(7))))),
        ("many keys", dg14(&fill(size, &chip_key_info(2, &spki, Some(7))))),
        ("many keys with their parameters", dg14(&fill(size, &chip_key_info(2, &explicit, None)))),
        (
            "many keys and protocols",
            dg14(
                &[fill(size / 2, &chip_key_info(2, &spki, None)), fill(size / 2, &chip_protocol_info(2, 2, 1, None))]
                    .concat(),
            ),
        ),
        (
            "many algorithms of active authentication",
            dg14(&fill(
                size,
                &seq(&[
                    &oid("2.23.136.1.1.5"),
                    &int(1),
                    &oid(plain_oid(proofmill_emrtd::crypto::digest::Digest::Sha256)),
                ]),
            )),
        ),
    ]
}

fn keys(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let number = tlv4(2, &[&[0x7f][..], &vec![0xff; size]].concat());
    let small = int(65_537);
    let rsa = |modulus: &[u8], exponent: &[u8]| {
        let key = [&[0][..], &tlv4(0x30, &[modulus, exponent].concat())].concat();
        tlv4(0x30, &[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL])[..], &tlv4(3, &key)].concat())
    };
    let ec = |parameters: &[u8], point: &[u8]| {
        let algorithm = tlv4(0x30, &[&oid("1.2.840.10045.2.1")[..], parameters].concat());
        tlv4(0x30, &[&algorithm[..], &tlv4(3, &[&[0][..], point].concat())].concat())
    };
    let field = tlv4(0x30, &[&oid("1.2.840.10045.1.1")[..], &number].concat());
    let coefficients = tlv4(0x30, &[octets(&[1]), octets(&[1])].concat());
    let parameters = tlv4(0x30, &[&int(1)[..], &field, &coefficients, &octets(&[4]), &number, &int(1)].concat());
    vec![
        ("a modulus of a mebibyte", rsa(&number, &small)),
        ("an exponent of a mebibyte", rsa(&small, &number)),
        ("a prime and an order of half a mebibyte", ec(&parameters, &[4; 65])),
        ("a point of a mebibyte", ec(&oid("1.2.840.10045.3.1.7"), &vec![4; size])),
    ]
}
