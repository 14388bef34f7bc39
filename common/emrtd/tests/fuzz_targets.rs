//! The fuzz targets, run shortly: on what they are meant for, on that with changes, and on
//! anything. With `PROOFMILL_FUZZ_CORPUS` set to a folder, the genuine files are also written there, as the
//! corpus that fuzzing starts from.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    ChipAuthentication, ChipAuthenticationMapping, ChipAuthenticationToken, ChipTranscript, GateResult, MasterList,
    Policy, ServerTerminal, Terminal, TrustStoreBuilder, UnixTime,
    crypto::{digest::Digest, key::PublicKey, provider::Scheme},
    fuzzing::{TARGETS, Target, chip_authentication as run_transcript, transcript},
    inspect_card_security,
};
use proptest::prelude::*;

fn dg14(spki: &[u8], with_protocol: bool) -> Vec<u8> {
    let protocol = if with_protocol { chip_protocol_info(2, 2, 1, None) } else { vec![] };
    security_infos(&[protocol, chip_key_info(2, spki, None)])
}

/// Genuine inputs of one target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let (csca, dsc) = (Certificate::csca("UT", &p256(1)), Certificate::dsc("UT", &p256(2), &p256(1)));
    let curves = [p256(3), ec(Secret::P384(3), Digest::Sha384), ec(Secret::Bp256(3), Digest::Sha256)];
    let explicit = Signer { explicit: Some(Parameters::default()), ..p256(3) };
    match target {
        "sod" => {
            let sod = Sod::new(&dsc, &[(1, b"one"), (2, b"two")]);
            vec![sod.der(), Sod { encoding: Encoding::Ber, ..sod }.der()]
        }
        "certificate" => vec![csca.der(), dsc.der(), Certificate::csca("UT", &explicit).der()],
        "crl" => {
            let list = Crl {
                version: Some(1),
                issuer: name("UT", "CSCA"),
                key: p256(1),
                this_update: "260601000000Z".into(),
                next_update: Some("260901000000Z".into()),
                revoked: vec![vec![1], vec![2, 3]],
                extensions: vec![],
            };
            vec![list.der(), Crl { version: None, revoked: vec![], ..list }.der()]
        }
        "master_list" => {
            let list = seq(&[&int(0), &set(&[&csca.der(), &dsc.der()])]);
            let signed = Sod { wrapped: false, other_content: Some(list), ..Sod::new(&csca, &[]) };
            vec![Sod { content_type: MASTER_LIST.into(), content_type_attribute: MASTER_LIST.into(), ..signed }.der()]
        }
        "dg1" => {
            // The specimens of ICAO Doc 9303-5 and 9303-6.
            let td1 = b"I<UTOD231458907<<<<<<<<<<<<<<<7408122F1204159UTO<<<<<<<<<<<6ERIKSSON<<ANNA<MARIA<<<<<<<<<<";
            let td2 = b"I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<D231458907UTO7408122F1204159<<<<<<<6";
            let file = |zone: &[u8]| tlv(0x61, &[&[0x5f, 0x1f, zone.len() as u8], zone].concat());
            vec![dg1("UTO", "740812", "330101"), file(td1), file(td2)]
        }
        "dg2" => vec![
            dg2(JPEG),
            facial(1, CODESTREAM, 3),
            facial(1, &jp2(), 0),
            facial_39794(2, JPEG),
            facial_39794(3, &jp2()),
        ],
        "dg14" => vec![dg14(&p256(3).spki(), true), dg14(&explicit.spki(), false)],
        "dg15" => curves
            .iter()
            .chain([&rsa(2, Scheme::RsaPkcs1 { digest: Digest::Sha256 })])
            .map(|key| tlv(0x6f, &key.spki()))
            .collect(),
        "chip_authentication" => {
            let dg14 = dg14(&p256(3).spki(), true);
            let counter = [&[0; 15][..], &[2]].concat();
            let (private_key, public_key) = ([7; 32], p256(7).point());
            let session = ChipTranscript::Version1(ChipAuthentication {
                terminal: Terminal::Integrator,
                terminal_private_key: &private_key,
                terminal_public_key: &public_key,
                protected_response: &protected_response(2, &p256_shared(7, &p256(3).point()), &counter),
                send_sequence_counter: &counter,
            });
            // A chip whose private key is 1 has the generator for its key, and its data are the ephemeral private key.
            let generator = hex::decode(
                "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                 4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            )
            .unwrap();
            let spki = seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]), &bits(&generator)]);
            let mapping = ChipTranscript::PaceMapping(ChipAuthenticationMapping {
                mapping_public_key: &public_key,
                chip_authentication_data: &private_key,
            });
            let token = ChipTranscript::Version2(ChipAuthenticationToken {
                terminal_private_key: &private_key,
                terminal_public_key: &public_key,
                nonce: b"from PCC",
                token: &[0; 8],
            });
            let version_2 =
                security_infos(&[chip_protocol_info(2, 2, 2, None), chip_key_info(2, &p256(3).spki(), None)]);
            let mapped = security_infos(&[chip_key_info(2, &spki, None)]);
            vec![transcript(&dg14, &session), transcript(&mapped, &mapping), transcript(&version_2, &token)]
        }
        "card_security" => {
            let content_type = "0.4.0.127.0.7.3.2.1".to_owned();
            let infos = [chip_protocol_info(2, 2, 1, None), chip_key_info(2, &p256(3).spki(), None)].concat();
            let sod = Sod {
                wrapped: false,
                content_type: content_type.clone(),
                content_type_attribute: content_type,
                other_content: Some(tlv(0x31, &infos)),
                ..Sod::new(&dsc, &[])
            };
            vec![sod.der()]
        }
        "ec_parameters" => {
            let keys: Vec<Vec<u8>> = curves.iter().chain([&explicit]).map(Signer::spki).collect();
            keys.into_iter().chain([explicit_parameters()]).collect()
        }
        other => panic!("no seeds for {other}"),
    }
}

/// A corpus that no parser accepts would lead a fuzzer nowhere.
#[test]
fn what_fuzzing_starts_from_is_genuine() {
    let anchor = Certificate::csca("UT", &p256(1)).der();
    assert_eq!(MasterList::verify(&seeds("master_list")[0], &anchor).unwrap().len(), 2);
    for (kind, add) in [
        ("certificate", TrustStoreBuilder::add_csca as fn(&mut TrustStoreBuilder, &[u8], &str) -> _),
        ("crl", TrustStoreBuilder::add_crl),
    ] {
        for seed in seeds(kind) {
            add(&mut TrustStoreBuilder::new(), &seed, "test").unwrap();
        }
    }
    for seed in seeds("dg2") {
        proofmill_emrtd::portrait(&seed).unwrap();
    }
    for seed in seeds("dg1") {
        assert_eq!(proofmill_emrtd::Dg1Info::read(&seed, proofmill_emrtd::UnixTime(1_781_524_800)).problem, None);
    }
    for seed in seeds("dg14") {
        ServerTerminal::start(&seed, |random| random.fill(5)).map(|_| ()).unwrap();
    }
    let keys = seeds("ec_parameters");
    for seed in &keys[..keys.len() - 1] {
        PublicKey::from_spki(seed).unwrap();
    }
    let card_security = inspect_card_security(
        &seeds("card_security")[0],
        &TrustStoreBuilder::new().build(1),
        &Policy::default(),
        UnixTime(1_781_524_800),
    );
    assert_eq!(card_security.gates.signature, GateResult::Passed);
    // The last one's token is none: it says how one is written.
    assert_eq!(
        seeds("chip_authentication").iter().map(|seed| run_transcript(seed)).collect::<Vec<_>>(),
        [true, true, false]
    );
}

#[test]
fn genuine_files_pass_their_targets_also_with_every_octet_changed() {
    let corpus = std::env::var_os("PROOFMILL_FUZZ_CORPUS").map(std::path::PathBuf::from);
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for (index, seed) in seeds.iter().enumerate() {
            run(seed);
            if let Some(corpus) = &corpus {
                std::fs::create_dir_all(corpus.join(name)).unwrap();
                std::fs::write(corpus.join(name).join(format!("minted-{index}")), seed).unwrap();
            }
            for at in 0..seed.len() {
                let mut other = seed.clone();
                other[at] ^= 1 << (at % 8);
                run(&other);
                run(&seed[..at]);
            }
        }
    }
}

fn any_target() -> impl Strategy<Value = Target> {
    proptest::sample::select(&TARGETS[..])
}

proptest! {
    #[test]
    fn no_bytes_make_a_target_fail((_, run) in any_target(), bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        run(&bytes);
    }

    #[test]
    fn no_changes_of_genuine_files_make_a_target_fail(
        (name, run) in any_target(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
    ) {
        for mut bytes in seeds(name) {
            for (at, value, kind) in &edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = *value,
                    1 => bytes.insert(at, *value),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.extend_from_within(at..(at + usize::from(*value)).min(bytes.len())),
                }
            }
            run(&bytes);
        }
    }
}
