//! What reading takes, and what it refuses.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use proofmill_emrtd::MasterListError;
use proofmill_trust::{Anchors, Collected, Found, Kind, LdifError, Reason, Refusal, TrustSource, Visitor, read_stream};

use crate::mint::{Authority, anchors, ldif_record, pem};

/// Everything as it comes.
#[derive(Default)]
struct All {
    found: Vec<Found>,
    refused: Vec<Refusal>,
    octets: u64,
}

impl Visitor for All {
    fn found(&mut self, found: Found) {
        self.found.push(found);
    }

    fn refused(&mut self, refusal: Refusal) {
        self.refused.push(refusal);
    }

    fn progress(&mut self, octets: u64) {
        self.octets += octets;
    }
}

impl All {
    fn of(bytes: &[u8], anchors: &Anchors) -> All {
        let mut all = All::default();
        read_stream(bytes, "it", anchors, &mut all);
        all
    }

    fn kinds(&self) -> Vec<Kind> {
        self.found.iter().map(|found| found.kind).collect()
    }

    fn reasons(&self) -> Vec<&Reason> {
        self.refused.iter().map(|refusal| &refusal.reason).collect()
    }
}

fn try_read(path: &Path, anchors: &Anchors) -> (All, Option<Refusal>) {
    let mut all = All::default();
    let error = proofmill_trust::read(&[path.to_owned()], anchors, &mut all).err();
    (all, error)
}

#[test]
fn what_a_file_is_is_told_by_its_content_and_not_by_its_name() {
    let state = Authority::new("UT", 1);
    let list = state.master_list(&[&state.der]);
    let trust = anchors(&[&state.der]);
    let bundle = format!(
        "# bundle\n{}text\n{}{}",
        pem("CERTIFICATE", &state.der),
        pem("X509 CRL", &state.crl(1, -1, 30, &[])),
        pem("CMS", &list)
    );
    let folder = tempfile::tempdir().unwrap();
    for (bytes, kinds) in [
        (state.der.clone(), vec![Kind::Csca]),
        (state.signer(5), vec![Kind::Dsc]),
        (state.crl(1, -1, 30, &[4]), vec![Kind::Crl]),
        (list.clone(), vec![Kind::Csca]),
        (bundle.into_bytes(), vec![Kind::Csca, Kind::Crl, Kind::Csca]),
        (ldif_record("c=UT", "userCertificate;binary", &state.signer(5)).into_bytes(), vec![Kind::Dsc]),
    ] {
        let path = folder.path().join("misleading.txt");
        std::fs::write(&path, &bytes).unwrap();
        let (all, error) = try_read(&path, &trust);
        assert_eq!((all.kinds(), error), (kinds, None));
        assert!(all.refused.is_empty());
        assert_eq!(all.octets, bytes.len() as u64, "progress is of every octet");
    }
}

#[test]
fn a_link_certificate_is_an_authority_and_a_plain_signer_is_not() {
    let (old, new) = (Authority::new("UT", 1), Authority::new("UT", 2));
    assert_eq!(All::of(&old.link_to(&new), &Anchors::NONE).kinds(), [Kind::Csca]);
    assert_eq!(All::of(&old.signer(9), &Anchors::NONE).kinds(), [Kind::Dsc]);
}

#[test]
fn not_one_certificate_is_taken_from_a_list_whose_signature_fails() {
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let list = state.master_list(&[&state.der, &other.der]);
    assert_eq!(All::of(&list, &anchors(&[&state.der])).kinds(), [Kind::Csca, Kind::Csca]);

    let under_nobody = All::of(&list, &Anchors::NONE);
    assert_eq!((under_nobody.found.len(), under_nobody.reasons()), (0, vec![&Reason::NoAnchor]));
    assert!(under_nobody.refused[0].to_string().contains("--anchor"));
    let under_another = All::of(&list, &anchors(&[&other.der]));
    assert_eq!(under_another.found.len(), 0);
    assert_eq!(under_another.reasons(), [&Reason::MasterList(MasterListError::SignerNotIssuedByAnchor)]);

    // Anywhere in the list: the content, the signer's certificate, the signature. Beside the content CMS says some things
    // twice, one of them unsigned: then the list is whole, and nothing but what was signed is taken.
    let mut whole = 0;
    for position in (0..list.len()).step_by(7) {
        let mut forged = list.clone();
        forged[position] ^= 1;
        let all = All::of(&forged, &anchors(&[&state.der]));
        let taken: Vec<&[u8]> = all.found.iter().map(|found| &*found.der).collect();
        whole += usize::from(!taken.is_empty());
        assert!(
            if taken.is_empty() {
                !all.refused.is_empty()
            } else {
                taken.contains(&&*state.der) && taken.contains(&&*other.der)
            },
            "octet {position}"
        );
    }
    assert!(whole <= 2, "{whole} of {}", list.len() / 7);
    let wrong_type = All::of(&state.deviation_list(), &anchors(&[&state.der]));
    assert_eq!((wrong_type.found.len(), wrong_type.refused.len()), (0, 1));
}

#[test]
fn certificates_of_a_list_remember_the_list_and_its_anchor() {
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let all = All::of(&state.master_list(&[&other.der]), &anchors(&[&other.der, &state.der]));
    assert_eq!(all.found[0].source, "it");
    assert_eq!(all.found[0].list.as_deref(), Some("master list under CN=CSCA UT,C=UT"));
}

#[test]
fn a_directory_gives_signers_lists_and_master_lists_and_refuses_by_entry() {
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let mut broken = state.signer(7);
    broken[4] ^= 0x20;
    let text = [
        "version: 1\n# ICAO\n\n".to_owned(),
        ldif_record("cn=one,o=dsc,c=UT", "userCertificate;binary", &state.signer(5)),
        ldif_record("cn=two,o=dsc,c=UT", "userCertificate;binary", &broken),
        ldif_record("cn=ca,o=dsc,c=UT", "userCertificate;binary", &state.der),
        ldif_record("cn=crl,o=crl,c=UT", "certificateRevocationList;binary", &state.crl(1, -1, 30, &[])),
        "dn: cn=three\nuserCertificate;binary:: not base64!\n\n".to_owned(),
        "dn: cn=four\nuserCertificate;binary:< http://example.org/x\n\n".to_owned(),
        ldif_record("cn=five", "jpegPhoto", b"\xff\xd8\xff\xe0 whatever"),
        ldif_record("cn=six", "userCertificate;binary", b"whatever"),
        ldif_record("cn=dl,o=dl", "pkdDeviationListContent", &state.deviation_list()),
        ldif_record("cn=XA,o=ml", "pkdMasterListContent", &other.master_list(&[&other.der])),
        ldif_record("cn=UT,o=ml", "pkdMasterListContent", &state.master_list(&[&state.der, &other.der])),
        ldif_record("cn=last,o=dsc,c=UT", "usercertificate", &state.signer(6)),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("icaopkd.ldif");
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let (all, error) = try_read(&path, &anchors(&[&state.der]));
    assert_eq!(error, None, "an entry does not refuse the file");
    assert_eq!(all.kinds(), [Kind::Dsc, Kind::Crl, Kind::Csca, Kind::Csca, Kind::Dsc]);
    assert_eq!(all.found[0].list.as_deref(), Some("cn=one,o=dsc,c=UT"));
    assert_eq!(all.found[2].list.as_deref(), Some("master list under CN=CSCA UT,C=UT, cn=UT,o=ml"));
    let places: Vec<&str> =
        all.refused.iter().map(|refusal| refusal.place.split(", ").nth(1).unwrap_or_default()).collect();
    assert_eq!(places, ["cn=two,o=dsc,c=UT", "cn=ca,o=dsc,c=UT", "cn=three", "cn=four", "cn=six", "cn=XA,o=ml"]);
    assert!(matches!(
        all.reasons()[..],
        [
            Reason::Malformed(_) | Reason::Unknown,
            Reason::AuthorityInDirectory,
            Reason::Ldif(LdifError::Base64),
            Reason::Ldif(LdifError::Url),
            Reason::Unknown,
            Reason::MasterList(MasterListError::SignerNotIssuedByAnchor),
        ]
    ));
    assert!(all.refused.iter().all(|refusal| refusal.in_collection));
}

#[cfg(unix)]
#[test]
fn a_folder_that_links_to_itself_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.cer"), Authority::new("UT", 1).der).unwrap();
    for link in 0..12 {
        std::os::unix::fs::symlink(".", folder.path().join(format!("l{link}"))).unwrap();
    }
    let (all, refusal) = try_read(folder.path(), &Anchors::NONE);
    assert!(refusal.is_none() && all.refused.is_empty());
    assert_eq!(all.found.len(), 1);
    let source = TrustSource { paths: vec![folder.path().to_owned()], ..TrustSource::default() };
    assert_eq!(source.state(), source.state());
}

#[test]
fn what_is_named_must_be_right_and_in_a_folder_the_rest_is_taken() {
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    write("b/state.cer", &state.der);
    write("README", b"about these files");
    write("empty.bin", b"");
    write(".hidden/x.cer", b"garbage");
    let wrong = [
        write("a.cer", b"garbage"),
        write("c.ml", &other.master_list(&[&other.der])),
        write("d.pem", b"-----BEGIN CERTIFICATE-----\nAQID"),
        write("e.ldif", b"version: 1\n\ndn: x\nthis is no line\n"),
        write("f.crl", &state.crl(1, 0, 1, &[])[..80]),
        write("g.pem", b"nothing inside"),
    ];
    write("z.bin", &state.signer(8));
    let (all, error) = try_read(folder.path(), &anchors(&[&state.der]));
    assert_eq!(error, None);
    assert_eq!(all.kinds(), [Kind::Csca, Kind::Dsc]);
    let refused: Vec<PathBuf> = all.refused.iter().map(|refusal| PathBuf::from(&refusal.source)).collect();
    assert_eq!(refused, wrong);
    for path in &wrong {
        let (all, error) = try_read(path, &anchors(&[&state.der]));
        assert!(all.found.is_empty() && all.refused.is_empty());
        assert_eq!(error.unwrap().source, path.display().to_string());
    }
    for absent in [folder.path().join("nowhere"), PathBuf::from("/dev/null")] {
        assert!(try_read(&absent, &Anchors::NONE).1.is_some(), "{}", absent.display());
    }
}

#[test]
fn an_anchor_is_a_certificate_that_is_there() {
    let state = Authority::new("UT", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.pem"), pem("CERTIFICATE", &state.der)).unwrap();
    std::fs::write(path("b.crl"), state.crl(1, 0, 1, &[])).unwrap();
    std::fs::write(path("c.cer"), b"garbage").unwrap();
    assert_eq!(Anchors::read(&[path("a.pem"), path("a.pem")]).unwrap().len(), 1);
    for wrong in ["b.crl", "c.cer", "nowhere"] {
        let refusal = Anchors::read(&[path("a.pem"), path(wrong)]).unwrap_err();
        assert_eq!(refusal.source, path(wrong).display().to_string());
    }
}

/// Records without end, made as they are read.
struct Directory {
    record: Vec<u8>,
    at: usize,
    left: u64,
}

impl Read for Directory {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.record[self.at..];
        let count = rest.len().min(out.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out[..count].copy_from_slice(&rest[..count]);
        self.at = (self.at + count) % self.record.len();
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts, and keeps nothing.
#[derive(Default)]
struct Counting {
    found: usize,
    refused: usize,
    octets: u64,
    first: Option<Fingerprint>,
}

type Fingerprint = [u8; 32];

impl Visitor for Counting {
    fn found(&mut self, found: Found) {
        self.found += 1;
        self.first.get_or_insert(proofmill_trust::fingerprint(&found.der));
    }

    fn refused(&mut self, _: Refusal) {
        self.refused += 1;
    }

    fn progress(&mut self, octets: u64) {
        self.octets += octets;
    }
}

#[test]
fn a_directory_of_a_hundred_megabytes_is_read_in_constant_memory() {
    let state = Authority::new("UT", 1);
    let signer = state.signer(5);
    let record = format!(
        "{}{}",
        ldif_record("cn=one", "userCertificate;binary", &signer),
        ldif_record("cn=bad", "userCertificate;binary", b"no certificate")
    );
    let whole = (100 << 20) / record.len() as u64;
    let octets = whole * record.len() as u64;
    let mut counting = Counting::default();
    let before = peak_memory();
    read_stream(
        Directory { record: record.into_bytes(), at: 0, left: octets },
        "directory",
        &Anchors::NONE,
        &mut counting,
    );
    let grown = peak_memory().saturating_sub(before);
    assert_eq!((counting.found as u64, counting.refused as u64, counting.octets), (whole, whole, octets));
    assert_eq!(counting.first, Some(proofmill_trust::fingerprint(&signer)));
    assert!(grown < 8 << 20, "{grown} octets more than before");
}

/// The most that this process has held, where the system tells; other tests of this process run in processes of their own
/// under nextest.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

#[test]
fn refusals_without_end_are_counted_and_not_kept() {
    let record = ldif_record("cn=bad", "userCertificate;binary", b"no certificate").into_bytes();
    let left = 5000 * record.len() as u64;
    let mut collected = Collected::default();
    read_stream(Directory { record, at: 0, left }, "directory", &Anchors::NONE, &mut collected);
    assert_eq!((collected.refusals, collected.refused.len()), (5000, 1000));
}

#[test]
fn hostile_bytes_are_refused_and_never_a_panic() {
    let state = Authority::new("UT", 1);
    let trust = anchors(&[&state.der]);
    for seed in [state.der.clone(), state.crl(1, 0, 1, &[3]), state.master_list(&[&state.der])] {
        for cut in 0..seed.len() {
            let all = All::of(&seed[..cut], &trust);
            assert!(all.found.is_empty(), "cut at {cut}");
        }
        for position in 0..seed.len().min(400) {
            for bit in [0x01, 0x80] {
                let mut flipped = seed.clone();
                flipped[position] ^= bit;
                let all = All::of(&flipped, &trust);
                assert!(all.found.len() + all.refused.len() <= 2);
            }
        }
    }
    let directory = ldif_record("cn=x", "userCertificate;binary", &state.signer(3));
    let texts = [format!("version: 1\n\n{directory}{directory}"), pem("CERTIFICATE", &state.der).repeat(2)];
    for text in texts {
        for position in 0..text.len() {
            for octet in [b'\n', b' ', b':', b'-', 0, 0xff] {
                let mut changed = text.clone().into_bytes();
                changed[position] = octet;
                assert!(All::of(&changed, &trust).found.len() <= 2);
            }
        }
    }
    for text in [
        &b"\x30\x80"[..],
        b"\x30\x84\xff\xff\xff\xff",
        b"dn:",
        b"dn: x\n ",
        b"version:",
        b"{\"format\":\"proofmill-trust\"",
    ] {
        assert!(All::of(text, &trust).found.is_empty());
    }
}
