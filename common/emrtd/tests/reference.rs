//! Real documents and lists. They are not part of the repository: the tests run when
//! `PROOFMILL_REFERENCE_DATA` points at them, and say so when it does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf};

use proofmill_emrtd::{
    CertificateInfo, CertificateStatus, Classification, Deviation, DocumentEvidence, GateResult, ImageType, MasterList,
    MasterListAnchor, MasterListError, Policy, Reason, RevocationStatus, SignerAbsence, SigningTimeSource, TrustStore,
    TrustStoreBuilder, UnixTime, inspect, verify,
};

/// 2026-11-22T00:00:00Z
const NOW: UnixTime = UnixTime(1_795_305_600);

fn data() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there is no reference data to test with");
        return None;
    };
    Some(PathBuf::from(path).join("emrtd"))
}

fn read(data: &std::path::Path, name: &str) -> Vec<u8> {
    fs::read(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn trust(data: &std::path::Path) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    for (list, anchor) in
        [("DE_ML_2024-04-10-10-54-13.ml", "DE_CSCA_048B.cer"), ("NL_ML_2026-07-22.ml", "NL_ROOT_CA.cer")]
    {
        let list = MasterList::verify(
            &read(data, &format!("masterlists/{list}")),
            &read(data, &format!("masterlists/{anchor}")),
        )
        .unwrap();
        let (_, refused) = builder.add_master_list(&list, anchor);
        assert_eq!(refused, 0);
    }
    builder.add_csca(&read(data, "sods/GB2010_CSCA.cer"), "GB2010").unwrap();
    builder.build(1)
}

#[test]
fn national_sods_are_valid_under_the_default_policy() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    println!("{:?}", trust.counts());
    let mut verified = 0;
    for country in ["AT", "CN", "FI", "FR", "GB2010", "MY", "NZ", "RU", "SG", "US"] {
        let sod = read(&data, &format!("sods/{country}_EF_SOD.bin"));
        let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
        let report = inspect(&evidence, &trust, &Policy::default(), NOW).report;
        println!("{country}: {}", serde_json::to_string(&report).unwrap());
        assert_eq!(report.reason, None, "{country}");
        let passive = report.gates.passive_authentication;
        assert_eq!(passive.signature, GateResult::Passed);
        assert_eq!(passive.chain, GateResult::Passed);
        assert_eq!(passive.revocation, GateResult::NotRun);
        assert_eq!(passive.data_group_hashes, GateResult::NotRun);
        assert_eq!(report.revocation_status, RevocationStatus::Unknown);
        let has_time = !["FI", "GB2010", "SG"].contains(&country);
        let expected = if has_time { SigningTimeSource::SignedAttribute } else { SigningTimeSource::NotDetermined };
        assert_eq!(report.signing_time, expected, "{country}");
        assert_eq!(report.deviations.contains(&Deviation::ContentTypeIdData), country == "CN");
        assert_eq!(report.deviations.contains(&Deviation::SodNotDer), country == "NZ");
        if country == "GB2010" {
            assert_eq!(report.signer_status, Some(CertificateStatus::Expired));
        }
        let full = verify(&evidence, &trust, &Policy::default(), NOW).report;
        assert!(!full.is_valid(), "{country}: data groups are missing");
        verified += 1;
    }
    assert_eq!(verified, 10);
    assert_eq!(trust.remembered_signers(), 10);
}

const COUNTRIES: [&str; 10] = ["AT", "CN", "FI", "FR", "GB2010", "MY", "NZ", "RU", "SG", "US"];

#[test]
fn sods_cut_or_changed_anywhere_are_refused() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    for country in COUNTRIES {
        let sod = read(&data, &format!("sods/{country}_EF_SOD.bin"));
        for end in 0..sod.len() {
            let evidence = DocumentEvidence { sod: &sod[..end], ..Default::default() };
            assert!(!inspect(&evidence, &trust, &Policy::default(), NOW).report.is_valid(), "{country} cut at {end}");
        }
        // Every bit is turned somewhere; the octets beside one another take turns.
        let issuer = element(&sod, &[0, 1, 0, 4, 0, 1, 0]);
        let start = issuer.as_ptr() as usize - sod.as_ptr() as usize;
        let issuer = start..start + issuer.len();
        let mut accepted = 0;
        for at in 0..sod.len() {
            let mut mutant = sod.clone();
            mutant[at] ^= 1 << (at % 8);
            let evidence = DocumentEvidence { sod: &mutant, ..Default::default() };
            let report = inspect(&evidence, &trust, &Policy::default(), NOW).report;
            if report.is_valid() {
                // Letters in another case, in another type of string: the same name of the signer's issuer.
                assert!(issuer.contains(&at), "{country} changed at {at}");
                assert!(report.deviations.contains(&Deviation::NameEncodingDiffers), "{country} changed at {at}");
                assert!(!inspect(&evidence, &trust, &Policy::strict(), NOW).report.is_valid());
                accepted += 1;
            }
        }
        println!(
            "{country}: {accepted} of {} changes leave the issuer's name what it is; none else is accepted",
            sod.len()
        );
    }
}

/// The path to an element by the numbers of its ancestors among their siblings.
type Path = &'static [usize];

/// The bytes with one element replaced, all lengths around it made right again; nothing is signed anew.
fn rebuilt(bytes: &[u8], path: &[usize], edit: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((index, below)) = path.split_first() else { return edit(bytes) };
    let (header, content) = split(bytes);
    let mut out = Vec::new();
    for (number, child) in children(content).into_iter().enumerate() {
        out.extend(if number == *index { rebuilt(child, below, edit) } else { child.to_vec() });
    }
    if header.ends_with(&[0x80]) && header.len() == 2 {
        [header, &out, &[0, 0]].concat()
    } else {
        let length = out.len() as u32;
        [&[header[0], 0x84][..], &length.to_be_bytes(), &out].concat()
    }
}

fn element<'a>(bytes: &'a [u8], path: &[usize]) -> &'a [u8] {
    path.iter().fold(bytes, |bytes, index| children(split(bytes).1)[*index])
}

/// Header and contents of the first element; contents of an indefinite one are without the octets that end them.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match bytes[1] {
        0x80 => {
            let mut at = 2;
            while bytes[at..at + 2] != [0, 0] {
                at += whole(&bytes[at..]);
            }
            (2, at - 2)
        }
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            (2 + count, bytes[2..2 + count].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
        }
    };
    (&bytes[..header], &bytes[header..header + length])
}

fn whole(bytes: &[u8]) -> usize {
    let (header, content) = split(bytes);
    header.len() + content.len() + if bytes[1] == 0x80 { 2 } else { 0 }
}

fn children(mut content: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    while !content.is_empty() {
        let (child, rest) = content.split_at(whole(content));
        out.push(child);
        content = rest;
    }
    out
}

#[test]
fn real_sods_changed_in_kind_are_refused_for_it() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    const SIGNED_DATA: Path = &[0, 1, 0];
    const VERSION: Path = &[0, 1, 0, 0];
    const DIGESTS: Path = &[0, 1, 0, 1];
    const DIGEST: Path = &[0, 1, 0, 1, 0];
    const ENCAPSULATED: Path = &[0, 1, 0, 2];
    const CONTENT_TYPE: Path = &[0, 1, 0, 2, 0];
    const CONTENT: Path = &[0, 1, 0, 2, 1];
    const CERTIFICATES: Path = &[0, 1, 0, 3];
    const SIGNERS: Path = &[0, 1, 0, 4];
    const SIGNER: Path = &[0, 1, 0, 4, 0];
    const SIGNER_VERSION: Path = &[0, 1, 0, 4, 0, 0];
    const SIGNER_DIGEST: Path = &[0, 1, 0, 4, 0, 2];
    const ATTRIBUTES: Path = &[0, 1, 0, 4, 0, 3];
    const FIRST_ATTRIBUTE: Path = &[0, 1, 0, 4, 0, 3, 0];
    const ALGORITHM: Path = &[0, 1, 0, 4, 0, 4];
    let null = |bytes: &[u8]| [bytes, &[5, 0]].concat();
    let trailing = |bytes: &[u8]| {
        let (header, content) = split(bytes);
        if header[1] == 0x80 {
            return [header, content, &[5, 0], &[0, 0]].concat();
        }
        let length = (content.len() + 2) as u32;
        [&[header[0], 0x84][..], &length.to_be_bytes(), content, &[5, 0]].concat()
    };
    let sha224 = |_: &[u8]| vec![0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4];
    type Edit<'e> = &'e dyn Fn(&[u8]) -> Vec<u8>;
    let kinds: Vec<(&str, Path, Edit<'_>, Reason)> = vec![
        ("version 1", VERSION, &|_| vec![2, 1, 1], Reason::SodVersionUnsupported),
        ("version 4", VERSION, &|_| vec![2, 1, 4], Reason::SodVersionUnsupported),
        ("another digest listed", DIGEST, &sha224, Reason::DeviationRefused(Deviation::DigestAlgorithmNotListed)),
        (
            "no digest listed",
            DIGESTS,
            &|_| vec![0x31, 0],
            Reason::DeviationRefused(Deviation::DigestAlgorithmNotListed),
        ),
        ("a master list", CONTENT_TYPE, &|_| vec![6, 6, 0x67, 0x81, 8, 1, 1, 2], Reason::SodContentTypeUnexpected),
        (
            "a security object",
            CONTENT_TYPE,
            &|_| vec![6, 8, 4, 0, 0x7f, 0, 7, 3, 2, 1],
            Reason::SodContentTypeUnexpected,
        ),
        ("no content", CONTENT, &|_| vec![], Reason::SodMalformed),
        ("no certificates", CERTIFICATES, &|_| vec![0xa0, 0], Reason::SignerCertificateNotFound),
        ("no signers", SIGNERS, &|_| vec![0x31, 0], Reason::SignerInfoCount),
        ("five signers", SIGNER, &|signer| signer.repeat(5), Reason::SignerInfoCount),
        ("another signer version", SIGNER_VERSION, &|_| vec![2, 1, 3], Reason::SignerInfoVersion),
        ("another digest", SIGNER_DIGEST, &sha224, Reason::DeviationRefused(Deviation::DigestAlgorithmNotListed)),
        ("no attributes", ATTRIBUTES, &|_| vec![], Reason::SignedAttributesMalformed),
        ("an attribute twice", FIRST_ATTRIBUTE, &|attribute| attribute.repeat(2), Reason::SignedAttributesMalformed),
        ("an attribute less", FIRST_ATTRIBUTE, &|_| vec![], Reason::SignedAttributesMalformed),
        (
            "another algorithm",
            ALGORITHM,
            &|_| vec![0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
            Reason::SignatureAlgorithmUnsupported,
        ),
        ("data after the ContentInfo", &[0], &null, Reason::SodTrailingData),
        ("data in the ContentInfo", &[0], &trailing, Reason::SodTrailingData),
        ("data after the SignedData", SIGNED_DATA, &null, Reason::SodTrailingData),
        ("data in the SignedData", SIGNED_DATA, &trailing, Reason::SodTrailingData),
        ("data in the content info", ENCAPSULATED, &trailing, Reason::SodTrailingData),
        ("data after the content", CONTENT, &trailing, Reason::SodTrailingData),
        ("data in a SignerInfo", SIGNER, &trailing, Reason::SodTrailingData),
        ("data after the SignerInfos", SIGNERS, &trailing, Reason::SodMalformed),
    ];
    for country in COUNTRIES {
        let sod = read(&data, &format!("sods/{country}_EF_SOD.bin"));
        let judge = |sod: &[u8], policy: &Policy| {
            let evidence = DocumentEvidence { sod, ..Default::default() };
            inspect(&evidence, &trust, policy, NOW).report
        };
        // The rebuilding alone changes nothing but the form of lengths.
        assert_eq!(judge(&rebuilt(&sod, SIGNER, &|same| same.to_vec()), &Policy::default()).reason, None, "{country}");
        for (kind, path, edit, expected) in &kinds {
            let mutant = rebuilt(&sod, path, edit);
            for policy in [Policy::default(), Policy::lenient(), Policy::strict()] {
                let reason = judge(&mutant, &policy).reason;
                if policy == Policy::default() && *expected != Reason::SignedAttributesMalformed {
                    assert_eq!(reason, Some(*expected), "{country}: {kind}");
                }
                // Without the deviation, a content of another digest is still another content.
                let lenient_only = policy == Policy::lenient() && path.starts_with(DIGESTS);
                assert_eq!(reason.is_none(), lenient_only, "{country}: {kind}");
            }
        }
        // Attributes sent in another order than signed: the lenient policy alone puts them right.
        let reversed = |attributes: &[u8]| {
            let (header, content) = split(attributes);
            let mut parts = children(content);
            parts.reverse();
            [header, &parts.concat(), if header[1] == 0x80 { &[0, 0] } else { &[] }].concat()
        };
        let unsorted = rebuilt(&sod, ATTRIBUTES, &reversed);
        assert_eq!(judge(&unsorted, &Policy::default()).reason, Some(Reason::SignatureInvalid), "{country}");
        let lenient = judge(&unsorted, &Policy::lenient());
        assert_eq!(lenient.reason, None, "{country}");
        assert!(lenient.deviations.contains(&Deviation::SignedAttributesResorted));
        // What may stand twice does no harm: the same signer, the same certificate.
        for path in [SIGNER, &[0, 1, 0, 3, 0]] {
            assert!(!element(&sod, path).is_empty());
            assert_eq!(judge(&rebuilt(&sod, path, &|same| same.repeat(2)), &Policy::default()).reason, None);
        }
    }
}

#[test]
fn negatives_are_refused() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    let mut count = 0;
    for file in fs::read_dir(data.join("negative")).unwrap() {
        let path = file.unwrap().path();
        let sod = fs::read(&path).unwrap();
        let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
        for policy in [Policy::default(), Policy::lenient(), Policy::strict()] {
            let report = inspect(&evidence, &trust, &policy, NOW).report;
            let name = path.file_name().unwrap().to_string_lossy();
            println!("{name}: {}", report.reason.unwrap());
            // None is refused for want of trust alone: each breaks a rule of its own.
            if policy == Policy::default() {
                assert_ne!(report.gates.passive_authentication.signature, GateResult::Passed, "{name}");
                if name.starts_with("pymrtd_9ae270") {
                    assert_eq!(report.reason, Some(Reason::SodVersionUnsupported));
                }
                if name.starts_with("pymrtd_660aa0") {
                    assert!(matches!(
                        report.reason,
                        Some(Reason::SignatureInvalid | Reason::MessageDigestMismatch | Reason::ContentTypeMismatch)
                    ));
                }
            }
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn specimens_have_right_signatures_and_hashes() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    for (folder, sod, groups) in [
        ("bsi2008", "EF_SOD.bin", [Some("Datagroup1.bin"), Some("Datagroup2.bin"), Some("Datagroup14.bin")]),
        ("bsi-tr03105-5", "EF_SOD.bin", [Some("Datagroup1.bin"), Some("Datagroup2.bin"), Some("Datagroup14.bin")]),
        ("loes2006", "ef011D.bin", [Some("ef0101.bin"), Some("ef0102.bin"), None]),
    ] {
        let file = |name: &str| read(&data, &format!("specimen/{folder}/{name}"));
        let sod = file(sod);
        let groups = groups.map(|group| group.map(file));
        let evidence = DocumentEvidence {
            sod: &sod,
            dg1: groups[0].as_deref(),
            dg2: groups[1].as_deref(),
            dg14: groups[2].as_deref(),
            ..Default::default()
        };
        let report = inspect(&evidence, &trust, &Policy::default(), NOW).report;
        println!("{folder}: {}", serde_json::to_string(&report).unwrap());
        let passive = report.gates.passive_authentication;
        assert_eq!(passive.signature, GateResult::Passed, "{folder}");
        assert_eq!(passive.data_group_hashes, GateResult::Passed, "{folder}");
        assert_eq!(passive.chain, GateResult::Failed, "{folder}");
        assert_eq!(report.reason, Some(Reason::ChainNotTrusted), "{folder}");
        assert_eq!(report.document_expired, Some(true), "{folder}: DG1 was read");
    }
    for folder in ["bsi2008", "bsi-tr03105-5"] {
        let sod = read(&data, &format!("specimen/{folder}/EF_SOD.bin"));
        let dg15 = read(&data, &format!("specimen/{folder}/Datagroup15.bin"));
        let evidence = DocumentEvidence { sod: &sod, dg15: Some(&dg15), ..Default::default() };
        let report = inspect(&evidence, &trust, &Policy::default(), NOW).report;
        assert_eq!(
            report.gates.passive_authentication.data_group_hashes,
            GateResult::Failed,
            "{folder}: DG15 is not in the SOD"
        );
        assert_eq!(report.gates.active_authentication, GateResult::NotRun);
    }
}

#[test]
fn master_lists_hold_under_their_own_anchor_only() {
    let Some(data) = data() else { return };
    let lists =
        [("DE_ML_2024-04-10-10-54-13.ml", "DE_CSCA_048B.cer", 526), ("NL_ML_2026-07-22.ml", "NL_ROOT_CA.cer", 411)];
    for (name, anchor, count) in lists {
        let list = read(&data, &format!("masterlists/{name}"));
        let own = read(&data, &format!("masterlists/{anchor}"));
        let verified = MasterList::verify(&list, &own).unwrap();
        assert_eq!(verified.len(), count);
        let mut builder = TrustStoreBuilder::new();
        assert_eq!(builder.add_master_list(&verified, name), (count, 0));
        for (_, other, _) in lists.iter().filter(|(_, other, _)| *other != anchor) {
            let other = read(&data, &format!("masterlists/{other}"));
            assert_eq!(MasterList::verify(&list, &other).err(), Some(MasterListError::SignerNotIssuedByAnchor));
        }
        let middle = list.len() / 2;
        for at in [200, middle, list.len() - 1] {
            let mut changed = list.clone();
            changed[at] ^= 1;
            assert!(MasterList::verify(&changed, &own).is_err(), "changed at {at}");
        }
    }
}

#[test]
fn dg2_samples_yield_their_images() {
    let Some(data) = data() else { return };
    for (name, expected) in [
        ("dg2/ISO19794_Test1_Data.bin", Some(ImageType::Jpeg)),
        ("dg2/ISO19794_Test2_Data_InvalidImage.bin", None),
        ("dg2/ICAO_39794_5_AP_DG2_MandFields.dat", Some(ImageType::Jp2)),
        ("dg2/dg2_silver_mandatory_fields.bin", Some(ImageType::Jp2)),
        ("specimen/bsi2008/Datagroup2.bin", Some(ImageType::Jp2)),
        ("specimen/bsi-tr03105-5/Datagroup2.bin", Some(ImageType::Jp2)),
        ("specimen/loes2006/ef0102.bin", Some(ImageType::Jp2)),
    ] {
        let dg2 = read(&data, name);
        match proofmill_emrtd::portrait(&dg2) {
            Ok((portrait, deviations)) => {
                println!(
                    "{name}: {:?} {} octets {}x{} {:?}",
                    portrait.image_type,
                    portrait.image.len(),
                    portrait.declared_width,
                    portrait.declared_height,
                    deviations.iter().collect::<Vec<_>>()
                );
                assert_eq!(Some(portrait.image_type), expected, "{name}");
            }
            Err(reason) => {
                println!("{name}: {reason}");
                assert_eq!(expected, None, "{name}: {reason}");
            }
        }
    }
}

#[test]
fn the_active_authentication_example_of_9303_holds() {
    let Some(data) = data() else { return };
    let json: serde_json::Value = serde_json::from_slice(&read(&data, "aa/icao_9303_11_worked_example.json")).unwrap();
    let example = &json["icao_worked_example"];
    let bytes = |field: &str| hex::decode(example[field].as_str().unwrap()).unwrap();
    let (representative, challenge) = (bytes("F"), bytes("rnd_ifd"));
    assert!(proofmill_emrtd::recovered_message_holds(&representative, &challenge));
    for at in 0..representative.len() {
        let mut changed = representative.clone();
        changed[at] ^= 1;
        assert!(!proofmill_emrtd::recovered_message_holds(&changed, &challenge), "changed at {at}");
    }
    let mut other = challenge;
    other[0] ^= 1;
    assert!(!proofmill_emrtd::recovered_message_holds(&representative, &other));
}

#[test]
fn every_certificate_of_the_lists_has_exactly_one_class() {
    let Some(data) = data() else { return };
    for (name, anchor, [self_signed, link, absent]) in [
        ("DE_ML_2024-04-10-10-54-13.ml", "DE_CSCA_048B.cer", [350, 169, 7]),
        ("NL_ML_2026-07-22.ml", "NL_ROOT_CA.cer", [411, 0, 0]),
    ] {
        let list = read(&data, &format!("masterlists/{name}"));
        let list = MasterList::verify(&list, &read(&data, &format!("masterlists/{anchor}"))).unwrap();
        let mut builder = TrustStoreBuilder::new();
        assert_eq!(builder.add_master_list(&list, name), (self_signed + link + absent, 0));
        let store = builder.build(1);
        let mut classes = std::collections::BTreeMap::new();
        for certificate in store.certificates() {
            let class = certificate.classification().unwrap();
            *classes.entry(class.name()).or_insert(0) += 1;
            let judged = certificate.judge(NOW).unwrap();
            let info = judged.certificate;
            assert!(info.public_key_usable && !info.extensions_malformed && info.country.is_some(), "{}", info.subject);
            assert!(judged.trusted && judged.issued_by.is_some() == (class.name() != "signer_absent"));
            assert_eq!(judged.provenance, [name]);
            if let Classification::SignerAbsent { detail } = class {
                println!("{detail:?}: {} by {}, {}", info.subject, info.issuer, info.signature_algorithm);
                // Keys that the list leaves out, not signatures that do not hold.
                assert!([SignerAbsence::NoCertificateOfIssuer, SignerAbsence::NoCertificateOfKey].contains(detail));
            }
        }
        println!("{name}: {classes:?}");
        let count = |class: &str| classes.get(class).copied().unwrap_or(0);
        assert_eq!(["self_signed_ok", "link_ok", "signer_absent"].map(count), [self_signed, link, absent]);
    }
}

#[test]
fn lists_are_refused_whole_and_say_what_they_rest_on() {
    let Some(data) = data() else { return };
    let file = |name: &str| read(&data, &format!("masterlists/{name}"));
    let anchors = [file("DE_CSCA_048B.cer"), file("NL_ROOT_CA.cer")];
    let both: Vec<&[u8]> = anchors.iter().map(Vec::as_slice).collect();
    for (name, anchor) in [("DE_ML_2024-04-10-10-54-13.ml", 0), ("NL_ML_2026-07-22.ml", 1)] {
        let list = file(name);
        let anchor = &anchors[anchor];
        let given = MasterListAnchor::Given { sha256: CertificateInfo::parse(anchor).unwrap().sha256 };
        assert_eq!(*MasterList::verify_with_any(&list, &both).unwrap().anchor(), given);
        match MasterList::verify_self_anchored(&list) {
            Ok(within) => println!("{name}: {:?}", within.anchor()),
            Err(error) => println!("{name}: {error} within itself"),
        }
        let unverified = MasterList::read_unverified(&list).unwrap();
        println!("{name}: {}", serde_json::to_string(unverified.signers()).unwrap());
        assert!(unverified.signature_holds());
        let expected: Vec<&[u8]> = unverified.certificates().collect();
        let mut beside = 0;
        for at in (0..list.len()).step_by(997) {
            let mut changed = list.clone();
            changed[at] ^= 0x10;
            // What is not signed, such as certificates beside the signer's, can change; what is taken cannot.
            if let Ok(taken) = MasterList::verify(&changed, anchor) {
                assert!(taken.certificates().eq(expected.iter().copied()), "changed at {at}");
                beside += 1;
            }
        }
        assert!(beside <= 3, "{name}: {beside}");
    }
}
