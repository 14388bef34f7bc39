//! Real documents and lists. They are not part of the repository: the tests run when
//! `PROOFMILL_REFERENCE_DATA` points at them, and say so when it does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf};

use proofmill_emrtd::{
    CertificateStatus, Deviation, DocumentEvidence, GateResult, ImageType, MasterList, MasterListError, Policy, Reason,
    RevocationStatus, SigningTimeSource, TrustStore, TrustStoreBuilder, UnixTime, inspect, verify,
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

#[test]
fn sods_cut_or_changed_anywhere_are_refused() {
    let Some(data) = data() else { return };
    let trust = trust(&data);
    for country in ["AT", "NZ", "MY"] {
        let sod = read(&data, &format!("sods/{country}_EF_SOD.bin"));
        for end in 0..sod.len() {
            let evidence = DocumentEvidence { sod: &sod[..end], ..Default::default() };
            assert!(!inspect(&evidence, &trust, &Policy::default(), NOW).report.is_valid(), "{country} cut at {end}");
        }
        let mut accepted = Vec::new();
        for at in 0..sod.len() {
            let mut mutant = sod.clone();
            mutant[at] ^= 0x04;
            let evidence = DocumentEvidence { sod: &mutant, ..Default::default() };
            if inspect(&evidence, &trust, &Policy::default(), NOW).report.is_valid() {
                accepted.push(at);
            }
        }
        println!("{country}: octets outside everything that is signed or required: {accepted:?}");
        // The SET of digest algorithms beside the signers binds nobody.
        assert!(accepted.len() <= 24, "{country}: {accepted:?}");
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
