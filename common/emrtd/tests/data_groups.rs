//! DG1 and DG2 by themselves: every format, every field, and what real documents do to them.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    DateInfo, Deviation, Dg1Content, Dg1Info, Dg2Info, DocumentType, FaceFormat, FaceImageKind, ImageType, MrzField,
    Reason, UnixTime, portrait, portraits,
};
use proptest::prelude::*;

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

// -- DG1

/// A zone of any format, its check digits computed when it is written.
#[derive(Clone)]
struct Zone {
    format: DocumentType,
    code: String,
    issuer: String,
    names: String,
    number: String,
    nationality: String,
    birth: String,
    sex: char,
    expiry: String,
    optional: String,
    /// The second optional field of TD1.
    second_optional: String,
    /// In place of the computed check digit of an empty optional field in TD3.
    optional_check: Option<char>,
}

const FORMATS: [DocumentType; 3] = [DocumentType::Td1, DocumentType::Td2, DocumentType::Td3];

impl Zone {
    fn new(format: DocumentType) -> Zone {
        Zone {
            format,
            code: if format == DocumentType::Td3 { "P<" } else { "I<" }.into(),
            issuer: "UTO".into(),
            names: "ERIKSSON<<ANNA<MARIA".into(),
            number: "D23145890".into(),
            nationality: "UTO".into(),
            birth: "740812".into(),
            sex: 'F',
            expiry: "330101".into(),
            optional: String::new(),
            second_optional: String::new(),
            optional_check: None,
        }
    }

    fn text(&self) -> String {
        let number_and_check = |optional: usize| {
            let (number, rest) = self.number.split_at(self.number.len().min(9));
            if rest.is_empty() {
                let number = format!("{number:<<9}");
                (format!("{number}{}", digit(&number)), format!("{:<<optional$}", self.optional))
            } else {
                let rest = format!("{rest}{}<{}", digit(&self.number), self.optional);
                (format!("{number}<"), format!("{rest:<<optional$}").chars().take(optional).collect())
            }
        };
        let with = |field: &str| format!("{field}{}", digit(field));
        let (birth, expiry) = (with(&self.birth), with(&self.expiry));
        let Zone { code, issuer, names, nationality, sex, .. } = self;
        match self.format {
            DocumentType::Td1 => {
                let (number, optional) = number_and_check(15);
                let upper = format!("{code}{issuer:<<3}{number}{optional}");
                let second = &self.second_optional;
                let middle = format!("{birth}{sex}{expiry}{nationality:<<3}{second:<<11}");
                let composite = digit(&format!("{}{birth}{expiry}{second:<<11}", &upper[5..]));
                format!("{upper}{middle}{composite}{names:<<30}")
            }
            DocumentType::Td2 => {
                let (number, optional) = number_and_check(7);
                let composite = digit(&format!("{number}{birth}{expiry}{optional}"));
                format!(
                    "{code}{issuer:<<3}{names:<<31}{number}{nationality:<<3}{birth}{sex}{expiry}{optional}{composite}"
                )
            }
            DocumentType::Td3 => {
                let (number, _) = number_and_check(0);
                let optional = format!("{:<<14}", self.optional);
                let check = self.optional_check.unwrap_or_else(|| digit(&optional));
                let composite = digit(&format!("{number}{birth}{expiry}{optional}{check}"));
                let lower = format!("{number}{nationality:<<3}{birth}{sex}{expiry}{optional}{check}{composite}");
                format!("{code}{issuer:<<3}{names:<<39}{lower}")
            }
        }
    }

    fn dg1(&self) -> Vec<u8> {
        file(&self.text())
    }

    fn info(&self) -> Dg1Info {
        Dg1Info::read(&self.dg1(), NOW)
    }

    fn content(&self) -> Dg1Content {
        Dg1Info::unmasked(&self.dg1(), NOW).unwrap()
    }
}

fn file(zone: &str) -> Vec<u8> {
    tlv(0x61, &[&[0x5f, 0x1f, zone.len() as u8][..], zone.as_bytes()].concat())
}

/// Weights 7, 3 and 1, written once more than in the library.
fn digit(text: &str) -> char {
    let value = |character: char| character.to_digit(36).unwrap_or(0);
    let sum: u32 =
        text.chars().map(value).zip([7, 3, 1].into_iter().cycle()).map(|(value, weight)| value * weight).sum();
    char::from_digit(sum % 10, 10).unwrap()
}

/// What comes of a zone with one thing changed.
fn with(format: DocumentType, change: impl FnOnce(&mut Zone)) -> (Option<Reason>, Vec<Deviation>) {
    let mut zone = Zone::new(format);
    change(&mut zone);
    let info = zone.info();
    (info.problem, info.deviations)
}

#[test]
fn every_format_is_read_and_masked_unless_asked() {
    for format in FORMATS {
        let zone = Zone::new(format);
        let info = zone.info();
        assert_eq!((info.problem, info.deviations.as_slice()), (None, &[][..]), "{}", zone.text());
        assert_eq!(info.document_type, Some(format));
        assert_eq!(info.issuing_state.as_deref(), Some("UTO"));
        assert_eq!(info.date_of_birth, Some(DateInfo::Complete));
        assert_eq!(info.expired, Some(false));
        assert_eq!(info.check_digits.len(), if format == DocumentType::Td3 { 5 } else { 4 });
        assert!(info.check_digits.iter().all(|check| check.holds));
        let masked = serde_json::to_string(&info).unwrap();
        for personal in ["ERIKSSON", "ANNA", "D23145890", "740812", "1974", "2033", "\"F\""] {
            assert!(!masked.contains(personal), "{masked}");
        }
        let content = zone.content();
        assert_eq!(content.lines.concat(), zone.text());
        assert_eq!(content.lines.len(), if format == DocumentType::Td1 { 3 } else { 2 });
        assert_eq!(content.primary_identifier.as_deref(), Some("ERIKSSON"));
        assert_eq!(content.secondary_identifier.as_deref(), Some("ANNA MARIA"));
        assert_eq!(content.date_of_birth.as_deref(), Some("1974-08-12"));
        assert_eq!(content.date_of_expiry.as_deref(), Some("2033-01-01"));
        assert_eq!(content.document_number.as_deref(), Some("D23145890"));
        assert!(serde_json::to_string(&content).unwrap().contains("ERIKSSON"));
    }
}

#[test]
fn every_wrong_check_digit_is_named() {
    for format in FORMATS {
        let text = Zone::new(format).text();
        let columns: &[(MrzField, usize)] = match format {
            DocumentType::Td1 => &[
                (MrzField::DocumentNumber, 14),
                (MrzField::DateOfBirth, 36),
                (MrzField::DateOfExpiry, 44),
                (MrzField::Composite, 59),
            ],
            DocumentType::Td2 => &[
                (MrzField::DocumentNumber, 45),
                (MrzField::DateOfBirth, 55),
                (MrzField::DateOfExpiry, 63),
                (MrzField::Composite, 71),
            ],
            DocumentType::Td3 => &[
                (MrzField::DocumentNumber, 53),
                (MrzField::DateOfBirth, 63),
                (MrzField::DateOfExpiry, 71),
                (MrzField::OptionalData, 86),
                (MrzField::Composite, 87),
            ],
        };
        for (field, column) in columns {
            let mut wrong = text.clone().into_bytes();
            let value = (wrong[*column] - b'0' + 1) % 10;
            for replacement in [b'0' + value, b'A'] {
                wrong[*column] = replacement;
                let info = Dg1Info::read(&file(std::str::from_utf8(&wrong).unwrap()), NOW);
                assert_eq!(info.problem, Some(Reason::MrzCheckDigit(*field)), "{format:?}");
                let failed = info.check_digits.iter().filter(|check| !check.holds);
                let failed: Vec<MrzField> = failed.map(|check| check.field).collect();
                assert!(failed.contains(field));
                assert_eq!(info.expired, None, "nothing is concluded from a zone that is refused");
            }
        }
    }
}

#[test]
fn the_check_digit_of_an_empty_optional_field_may_be_a_filler() {
    let td3 = |optional: &str, check: Option<char>| {
        with(DocumentType::Td3, |zone| {
            zone.optional = optional.into();
            zone.optional_check = check;
        })
        .0
    };
    assert_eq!(td3("", Some('<')), None);
    assert_eq!(td3("", Some('0')), None);
    let wrong = Some(Reason::MrzCheckDigit(MrzField::OptionalData));
    assert_eq!(td3("", Some('1')), wrong);
    assert_eq!(td3("ZE184226B", None), None);
    assert_eq!(td3("ZE184226B", Some('<')), wrong);
    for format in [DocumentType::Td1, DocumentType::Td2] {
        assert_eq!(with(format, |zone| zone.optional = "A1".into()), (None, vec![]));
    }
    let both = Zone { optional: "A1<B".into(), second_optional: "C2".into(), ..Zone::new(DocumentType::Td1) };
    assert_eq!(both.content().optional_data.as_deref(), Some("A1 B C2"));
}

#[test]
fn long_document_numbers_go_on_in_the_optional_data() {
    for (format, number, optional, left) in [
        (DocumentType::Td1, "D23145890734", "", ""),
        (DocumentType::Td1, "D231458907", "AB", "AB"),
        (DocumentType::Td1, "D23145890734934092012", "", ""),
        (DocumentType::Td1, "D2314589073493409201299", "", ""),
        (DocumentType::Td2, "D23145890734", "XY", "XY"),
        (DocumentType::Td2, "D231458907349", "", ""),
    ] {
        let zone = Zone { number: number.into(), optional: optional.into(), ..Zone::new(format) };
        let info = zone.info();
        assert_eq!((info.problem, info.deviations), (None, vec![]), "{}", zone.text());
        let content = zone.content();
        assert_eq!(content.document_number.as_deref(), Some(number));
        assert_eq!(content.optional_data.as_deref(), Some(left));
        // Another last character of the number.
        let text = zone.text();
        let at = text.find('<').unwrap();
        let (start, rest) = text.split_at(if format == DocumentType::Td1 { 15 } else { 64 });
        assert!(at < start.len());
        let first = rest.chars().next().unwrap();
        let other = char::from_digit((first.to_digit(36).unwrap() + 1) % 10, 10).unwrap();
        let changed = format!("{start}{other}{}", &rest[1..]);
        let problem = Dg1Info::read(&file(&changed), NOW).problem;
        assert_eq!(problem, Some(Reason::MrzCheckDigit(MrzField::DocumentNumber)));
    }
    // A filler in place of the check digit of a short number, and one inside a long one.
    for (format, column) in [(DocumentType::Td1, 14), (DocumentType::Td2, 45), (DocumentType::Td3, 53)] {
        let mut text = Zone::new(format).text();
        text.replace_range(column..=column, "<");
        let problem = Dg1Info::read(&file(&text), NOW).problem;
        assert_eq!(problem, Some(Reason::MrzCheckDigit(MrzField::DocumentNumber)), "{format:?}");
    }
    let holed = with(DocumentType::Td1, |zone| zone.number = "D231<5890734".into());
    assert_eq!(holed.0, Some(Reason::MrzCheckDigit(MrzField::DocumentNumber)));
    // In a short number a filler stands for a character that the zone cannot write.
    let number = Zone { number: "AB<123".into(), ..Zone::new(DocumentType::Td3) };
    assert_eq!(number.content().document_number.as_deref(), Some("AB 123"));
    for format in FORMATS {
        let none = with(format, |zone| zone.number = "<<<<<<<<<".into());
        assert_eq!(none.0, Some(Reason::MrzFieldMalformed(MrzField::DocumentNumber)));
    }
}

#[test]
fn document_codes_are_those_of_the_format_or_reported() {
    use DocumentType::{Td1, Td2, Td3};
    let malformed = Some(Reason::MrzFieldMalformed(MrzField::DocumentCode));
    let unusual = || (None, vec![Deviation::MrzDocumentCodeUnusual]);
    for code in ["P<", "PP", "PD", "PO", "PT"] {
        assert_eq!(with(Td3, |zone| zone.code = code.into()), (None, vec![]), "{code}");
    }
    for format in [Td1, Td2] {
        for code in ["I<", "ID", "IR", "AC", "A<", "C<", "CR"] {
            assert_eq!(with(format, |zone| zone.code = code.into()), (None, vec![]), "{code}");
        }
        for code in ["IV", "RP", "P<", "I1"] {
            assert_eq!(with(format, |zone| zone.code = code.into()), unusual(), "{code}");
        }
    }
    for code in ["TD", "ID", "P1"] {
        assert_eq!(with(Td3, |zone| zone.code = code.into()), unusual(), "{code}");
    }
    for format in FORMATS {
        for code in ["V<", "VA", "<P", "1P", "<<"] {
            assert_eq!(with(format, |zone| zone.code = code.into()).0, malformed, "{code}");
        }
    }
}

#[test]
fn names_states_and_sex_hold_what_they_can_hold() {
    let irregular = || (None, vec![Deviation::MrzFieldIrregular]);
    let malformed = |field| Some(Reason::MrzFieldMalformed(field));
    for format in FORMATS {
        for (names, expected) in [
            ("ERIKSSON", (None, vec![])),
            ("ERIKSSON<<", (None, vec![])),
            ("O<CONNOR<<ENYA<SIOBHAN", (None, vec![])),
            ("ERIKSSON2<<ANNA", irregular()),
            ("<<ANNA", irregular()),
            ("", (malformed(MrzField::Names), vec![])),
        ] {
            assert_eq!(with(format, |zone| zone.names = names.into()), expected, "{names}");
        }
        let full = "A".repeat(match format {
            DocumentType::Td1 => 30,
            DocumentType::Td2 => 31,
            DocumentType::Td3 => 39,
        });
        assert_eq!(with(format, |zone| zone.names = full), (None, vec![]));
        for state in ["D", "UTO", "XXA", "EU"] {
            assert_eq!(with(format, |zone| zone.issuer = state.into()), (None, vec![]), "{state}");
            assert_eq!(with(format, |zone| zone.nationality = state.into()), (None, vec![]), "{state}");
        }
        for state in ["U1O", "<UT", "U<O", ""] {
            let problem = with(format, |zone| zone.issuer = state.into()).0;
            assert_eq!(problem, malformed(MrzField::IssuingState), "{state}");
        }
        assert_eq!(with(format, |zone| zone.nationality = String::new()), irregular(), "none is known");
        assert_eq!(with(format, |zone| zone.nationality = "U<O".into()), irregular());
        let problem = with(format, |zone| zone.nationality = "U1O".into()).0;
        assert_eq!(problem, malformed(MrzField::Nationality));
        for (sex, shown) in [('M', "M"), ('F', "F"), ('<', "X")] {
            assert_eq!(with(format, |zone| zone.sex = sex), (None, vec![]));
            assert_eq!(Zone { sex, ..Zone::new(format) }.content().sex.as_deref(), Some(shown));
        }
        assert_eq!(with(format, |zone| zone.sex = 'X'), irregular());
        for sex in ['1', 'W'] {
            assert_eq!(with(format, |zone| zone.sex = sex).0, malformed(MrzField::Sex));
        }
    }
}

#[test]
fn unknown_parts_of_a_birth_are_no_error_and_impossible_ones_are() {
    for format in FORMATS {
        for (birth, shown) in [
            ("74<<<<", "1974-XX-XX"),
            ("7408<<", "1974-08-XX"),
            ("74<<12", "1974-XX-12"),
            ("<<<<<<", "XXXX-XX-XX"),
            ("<<0812", "XXXX-08-12"),
        ] {
            let zone = Zone { birth: birth.into(), ..Zone::new(format) };
            let info = zone.info();
            assert_eq!((info.problem, info.date_of_birth), (None, Some(DateInfo::PartlyUnknown)), "{birth}");
            assert_eq!(zone.content().date_of_birth.as_deref(), Some(shown));
        }
        for birth in ["740231", "741301", "740000", "740832", "7<0812", "74O812", "<<0230"] {
            let info = Zone { birth: birth.into(), ..Zone::new(format) }.info();
            assert_eq!(info.problem, Some(Reason::MrzDateImpossible(MrzField::DateOfBirth)), "{birth}");
            assert_eq!(info.date_of_birth, Some(DateInfo::Impossible));
        }
        for expiry in ["330231", "33<<<<", "<<<<<<", "331301"] {
            let info = Zone { expiry: expiry.into(), ..Zone::new(format) }.info();
            assert_eq!(info.problem, Some(Reason::MrzDateImpossible(MrzField::DateOfExpiry)), "{expiry}");
        }
        for (expiry, expired) in [("260614", true), ("260615", false)] {
            assert_eq!(Zone { expiry: expiry.into(), ..Zone::new(format) }.info().expired, Some(expired));
        }
    }
}

#[test]
fn the_file_around_the_zone_is_one_element_of_one_element() {
    let zone = Zone::new(DocumentType::Td3).text();
    let inner = [&[0x5f, 0x1f, 88][..], zone.as_bytes()].concat();
    let long_inner = [&[0x5f, 0x1f, 0x81, 88][..], zone.as_bytes()].concat();
    let problem = |bytes: &[u8]| Dg1Info::read(bytes, NOW).problem;
    assert_eq!(problem(&tlv(0x61, &inner)), None);
    for sloppy in [
        tlv(0x61, &long_inner),
        [&[0x61, 0x82, 0, 91][..], &inner].concat(),
        [&[0x61, 0x80][..], &inner, &[0, 0]].concat(),
    ] {
        let info = Dg1Info::read(&sloppy, NOW);
        assert_eq!((info.problem, info.deviations), (None, vec![Deviation::DataGroupNotDer]));
    }
    for bad in [
        inner.clone(),
        tlv(0x61, &[&inner[..], &[0]].concat()),
        [&tlv(0x61, &inner)[..], &[0]].concat(),
        tlv(0x75, &inner),
        tlv(0x61, &[&[0x5f, 0x1e, 88][..], zone.as_bytes()].concat()),
        tlv(0x61, &[]),
        file(&zone[..87]),
        file(&format!("{zone}<")),
        file(&zone.to_lowercase()),
        file(&zone.replace("ANNA", "AN A")),
    ] {
        assert_eq!(problem(&bad), Some(Reason::MrzMalformed));
        assert!(Dg1Info::read(&bad, NOW).expired.is_none());
    }
    let whole = file(&zone);
    for end in 0..whole.len() {
        assert!(problem(&whole[..end]).is_some());
    }
}

// -- DG2

/// An image of its own, told apart by its last octets.
fn numbered(number: u8, length: usize) -> Vec<u8> {
    let mut image = JPEG.to_vec();
    image.resize(JPEG.len() + length, number);
    image
}

struct Record {
    images: Vec<Vec<u8>>,
    points: u16,
    /// What the length fields say more than is there: of the record, and of each block.
    record_off: i64,
    block_off: i64,
    count: Option<u16>,
}

impl Record {
    fn of(images: &[Vec<u8>]) -> Record {
        Record { images: images.to_vec(), points: 0, record_off: 0, block_off: 0, count: None }
    }

    fn bytes(&self) -> Vec<u8> {
        let field = |length: usize, off: i64| ((length as i64 + off) as u32).to_be_bytes();
        let blocks: Vec<Vec<u8>> = self
            .images
            .iter()
            .map(|image| {
                let points = vec![0xee; usize::from(self.points) * 8];
                let mut block = field(32 + points.len() + image.len(), self.block_off).to_vec();
                block.extend(self.points.to_be_bytes());
                block.extend([0; 14]);
                block.extend(points);
                block.extend([1, 0, 1, 0x9d, 2, 0x13, 0, 0, 0, 0, 0, 0]);
                block.extend_from_slice(image);
                block
            })
            .collect();
        let blocks = blocks.concat();
        let mut record = b"FAC\x00010\x00".to_vec();
        record.extend(field(14 + blocks.len(), self.record_off));
        record.extend(self.count.unwrap_or(self.images.len() as u16).to_be_bytes());
        record.extend(blocks);
        record
    }
}

fn long_tag(tag: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&tag[..1], &tlv(tag[1], body)].concat()
}

/// A biometric information template around a data block.
fn template(tag: [u8; 2], block: &[u8]) -> Vec<u8> {
    let header = tlv(0xa1, &[&[0x87, 2, 1, 1][..], &[0x88, 2, 0, 8]].concat());
    long_tag([0x7f, 0x60], &[header, long_tag(tag, block)].concat())
}

fn dg2_of(count: u64, templates: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x75, &long_tag([0x7f, 0x61], &[int(count), templates.concat()].concat()))
}

const PRIMITIVE: [u8; 2] = [0x5f, 0x2e];
const CONSTRUCTED: [u8; 2] = [0x7f, 0x2e];

fn images_of(dg2: &[u8]) -> (Vec<Vec<u8>>, Vec<Deviation>) {
    let (portraits, deviations) = portraits(dg2).unwrap();
    assert!(portraits.iter().all(|portrait| usize::from(portrait.image_count) == Dg2Info::read(dg2).image_count));
    let (first, same) = portrait(dg2).unwrap();
    assert_eq!((first.image, same), (portraits[0].image, deviations));
    (portraits.iter().map(|portrait| portrait.image.to_vec()).collect(), deviations.iter().collect())
}

#[test]
fn length_fields_of_a_facial_record_are_hints() {
    for points in [0, 3] {
        for off in -8..=8 {
            for (record_off, block_off) in [(off, 0), (0, off), (off, off)] {
                let record = Record { points, record_off, block_off, ..Record::of(&[numbered(1, 50)]) };
                let dg2 = dg2_of(1, &[template(PRIMITIVE, &record.bytes())]);
                let (images, deviations) = images_of(&dg2);
                assert_eq!(images, [numbered(1, 50)]);
                let expected = if off == 0 { vec![] } else { vec![Deviation::FaceRecordLengthOff] };
                assert_eq!(deviations, expected);
                let info = Dg2Info::read(&dg2);
                assert_eq!(info.images[0].feature_points, usize::from(points));
                assert_eq!(
                    (info.images[0].record_length_off, info.images[0].block_length_off),
                    (record_off, block_off)
                );
            }
        }
    }
    // Lengths of zero and of four gigabytes are as good as any other.
    for off in [-10_000, 4_000_000_000] {
        let record = Record { record_off: off, block_off: off, ..Record::of(&[numbered(1, 50)]) };
        assert_eq!(images_of(&dg2_of(1, &[template(PRIMITIVE, &record.bytes())])).0, [numbered(1, 50)]);
    }
}

/// A length of one octet more or less in the templates around the record, with the record still whole.
#[test]
fn lengths_of_the_templates_are_hints_too() {
    let image = numbered(1, 50);
    let genuine = dg2_of(1, &[template(PRIMITIVE, &Record::of(std::slice::from_ref(&image)).bytes())]);
    assert!(genuine.len() < 0x100);
    // Behind the tags of the group, the template and the data block; all their lengths are of two octets.
    for tag in [[0x7f, 0x61], [0x7f, 0x60], [0x5f, 0x2e]] {
        let at = genuine.windows(2).position(|window| window == tag).unwrap() + 2;
        assert_eq!(genuine[at], 0x81);
        for off in -8i16..=8 {
            let mut dg2 = genuine.clone();
            dg2[at + 1] = u8::try_from(i16::from(dg2[at + 1]) + off).unwrap();
            let (images, deviations) = images_of(&dg2);
            assert_eq!(images, std::slice::from_ref(&image), "{tag:02x?} off by {off}");
            assert_eq!(deviations, if off == 0 { vec![] } else { vec![Deviation::FaceRecordLengthOff] });
        }
        for off in [-20, 20] {
            let mut dg2 = genuine.clone();
            dg2[at + 1] = u8::try_from(i16::from(dg2[at + 1]) + off).unwrap();
            assert!(off < 0 || portrait(&dg2).is_err());
        }
    }
}

#[test]
fn every_image_of_every_record_and_template_is_yielded() {
    let three = [numbered(1, 40), numbered(2, 60), numbered(3, 30)];
    for points in [0, 2] {
        for off in -8..=8 {
            let record = Record { points, block_off: off, ..Record::of(&three) };
            let (images, deviations) = images_of(&dg2_of(1, &[template(PRIMITIVE, &record.bytes())]));
            assert_eq!(images, three, "block lengths off by {off}");
            assert_eq!(deviations, if off == 0 { vec![] } else { vec![Deviation::FaceRecordLengthOff] });
        }
    }
    let one = |image: &Vec<u8>| template(PRIMITIVE, &Record::of(std::slice::from_ref(image)).bytes());
    let templates: Vec<Vec<u8>> = three.iter().map(one).collect();
    assert_eq!(images_of(&dg2_of(3, &templates)), (three.to_vec(), vec![]));
    for count in [1, 2, 4] {
        assert_eq!(images_of(&dg2_of(count, &templates)), (three.to_vec(), vec![Deviation::FaceRecordLengthOff]));
    }
    // More images are counted than there are.
    let record = Record { count: Some(5), ..Record::of(&three) };
    let (images, deviations) = images_of(&dg2_of(1, &[template(PRIMITIVE, &record.bytes())]));
    assert_eq!((images.len(), deviations), (3, vec![Deviation::FaceRecordLengthOff]));
    // The first decides; another that cannot be read is left out and reported.
    let png = b"\x89PNG\r\n".to_vec();
    let (images, deviations) = images_of(&dg2_of(2, &[one(&three[0]), one(&png)]));
    assert_eq!((images, deviations), (vec![three[0].clone()], vec![Deviation::FaceImageUnreadable]));
    let first_bad = dg2_of(2, &[one(&png), one(&three[0])]);
    assert_eq!(portrait(&first_bad).err(), Some(Reason::PortraitFormatUnsupported));
}

/// ISO/IEC 39794-5 in the profile of ICAO.
#[derive(Clone)]
struct FaceImageData {
    image: Vec<u8>,
    format: u8,
    kind: Option<u8>,
    size: Option<(u64, u64)>,
    landmarks: usize,
    with_extensions: bool,
}

fn context(number: u8, value: u64) -> Vec<u8> {
    tlv(0x80 | number, &int(value)[2..])
}

impl FaceImageData {
    fn of(image: &[u8], format: u8) -> FaceImageData {
        FaceImageData { image: image.to_vec(), format, kind: None, size: None, landmarks: 0, with_extensions: false }
    }

    fn representation(&self, number: u64) -> Vec<u8> {
        let mut information = tlv(0xa0, &context(0, u64::from(self.format)));
        if let Some(kind) = self.kind {
            information.extend(tlv(0xa1, &context(0, u64::from(kind))));
        }
        if self.with_extensions {
            information.extend(tlv(0xa2, &context(0, 1)));
            information.extend(context(4, 900));
        }
        if let Some((width, height)) = self.size {
            information.extend(tlv(0xa7, &[context(0, width), context(1, height)].concat()));
        }
        if self.with_extensions {
            information.extend(tlv(0xab, &context(0, 1)));
        }
        let image = [tlv(0x80, &self.image), tlv(0xa1, &information)].concat();
        let mut fields = [context(0, number), tlv(0xa1, &tlv(0xa0, &tlv(0xa0, &image)))].concat();
        if self.with_extensions {
            fields.extend(tlv(0xa2, &context(0, 2026)));
        }
        if self.landmarks > 0 {
            fields.extend(tlv(0xa9, &seq(&[]).repeat(self.landmarks)));
        }
        seq(&[&fields])
    }

    fn block(representations: &[Vec<u8>]) -> Vec<u8> {
        let version = tlv(0xa0, &[context(0, 3), context(1, 2019)].concat());
        tlv(0x65, &[version, tlv(0xa1, &representations.concat())].concat())
    }
}

#[test]
fn iso_39794_5_is_read_under_either_tag_with_or_without_its_wrapper() {
    let plain = FaceImageData::of(&jp2(), 3);
    let full = FaceImageData {
        kind: Some(0),
        size: Some((413, 531)),
        landmarks: 7,
        with_extensions: true,
        ..FaceImageData::of(JPEG, 2)
    };
    for data in [plain, full] {
        let block = FaceImageData::block(&[data.representation(1)]);
        let wrapped = tlv(0xa1, &block);
        for block in [block, wrapped] {
            let files = [
                dg2_of(1, &[template(PRIMITIVE, &block)]),
                dg2_of(1, &[template(CONSTRUCTED, &block)]),
                dg2_of(1, &[template(CONSTRUCTED, &long_tag(PRIMITIVE, &block))]),
                block,
            ];
            for dg2 in files {
                assert_eq!(images_of(&dg2), (vec![data.image.clone()], vec![]));
                let (portrait, _) = portrait(&dg2).unwrap();
                let declared = data.size.map_or((0, 0), |(width, height)| (width as u16, height as u16));
                assert_eq!((portrait.declared_width, portrait.declared_height), declared);
                assert_eq!((portrait.encoded_width, portrait.encoded_height), (413, 531));
                let info = Dg2Info::read(&dg2);
                assert_eq!((info.format, info.problem), (Some(FaceFormat::Iso39794_5), None));
                let image = &info.images[0];
                assert_eq!(image.feature_points, data.landmarks);
                assert_eq!(image.face_image_kind, data.kind.map(|_| FaceImageKind::TravelDocument));
                assert_eq!(image.declared_type, Some(if data.format == 2 { "jpeg" } else { "jpeg2000" }));
            }
        }
    }
    let several = [FaceImageData::of(&numbered(1, 9), 2), FaceImageData::of(&numbered(2, 9), 2)];
    let block = FaceImageData::block(&[several[0].representation(1), several[1].representation(2)]);
    let (images, deviations) = images_of(&dg2_of(1, &[template(CONSTRUCTED, &tlv(0xa1, &block))]));
    assert_eq!((images, deviations), (vec![numbered(1, 9), numbered(2, 9)], vec![]));
}

#[test]
fn what_a_record_says_of_its_image_is_compared_with_the_image() {
    let deviations = |data: &FaceImageData| {
        images_of(&dg2_of(1, &[template(CONSTRUCTED, &FaceImageData::block(&[data.representation(1)]))])).1
    };
    let jpeg = FaceImageData::of(JPEG, 2);
    assert_eq!(deviations(&FaceImageData { format: 3, ..jpeg.clone() }), [Deviation::FaceImageTypeDiffers]);
    assert_eq!(deviations(&FaceImageData::of(CODESTREAM, 2)), [Deviation::FaceImageTypeDiffers]);
    assert_eq!(deviations(&FaceImageData { format: 0, ..jpeg.clone() }), [], "of an unknown type nothing is said");
    for size in [(412, 531), (413, 532), (65_535, 531)] {
        let data = FaceImageData { size: Some(size), ..jpeg.clone() };
        assert_eq!(deviations(&data), [Deviation::FaceImageSizeDiffers], "{size:?}");
    }
    assert_eq!(deviations(&FaceImageData { size: Some((413, 531)), ..jpeg }), []);
}

#[test]
fn images_of_no_use_are_named() {
    let problem = |image: &[u8]| {
        let old = dg2_of(1, &[template(PRIMITIVE, &Record::of(&[image.to_vec()]).bytes())]);
        let block = FaceImageData::block(&[FaceImageData::of(image, 2).representation(1)]);
        let new = dg2_of(1, &[template(CONSTRUCTED, &block)]);
        let problem = portrait(&old).err();
        assert_eq!(portrait(&new).err(), problem);
        assert_eq!(portraits(&old).err(), problem);
        for dg2 in [old, new] {
            let info = Dg2Info::read(&dg2);
            assert_eq!((info.problem, info.images[0].problem), (problem, problem));
        }
        problem
    };
    assert_eq!(problem(b""), Some(Reason::PortraitAbsent));
    for unknown in [&b"GIF89a"[..], b"\x89PNG", b"\xff\xd8", b"\xff\xd8\xfe\xe0", b"\0\0\0\x0cjP  ", b"\0"] {
        assert_eq!(problem(unknown), Some(Reason::PortraitFormatUnsupported), "{unknown:?}");
    }
    for end in 3..36 {
        assert_eq!(problem(&JPEG[..end]), Some(Reason::PortraitHeaderMalformed), "{end}");
    }
    let jp2 = jp2();
    for image in [CODESTREAM, &jp2] {
        let header = image.len() - CODESTREAM.len() + 24;
        for end in 12..header {
            assert_eq!(problem(&image[..end]), Some(Reason::PortraitHeaderMalformed), "{end}");
        }
        assert_eq!(problem(&image[..header]), None);
    }
    let sized = |width: u16, height: u16| {
        let mut image = JPEG.to_vec();
        image[25..27].copy_from_slice(&height.to_be_bytes());
        image[27..29].copy_from_slice(&width.to_be_bytes());
        image
    };
    let of_size = |width, height| portrait(&Record::of(&[sized(width, height)]).bytes()).err();
    assert_eq!(of_size(413, 531), None);
    assert_eq!(of_size(4_000, 4_000), None);
    assert_eq!(of_size(0, 531), Some(Reason::PortraitHeaderMalformed));
    for (width, height) in [(4_097, 1), (1, 4_097), (4_096, 4_096), (65_535, 65_535)] {
        assert_eq!(of_size(width, height), Some(Reason::PortraitTooLarge), "{width}x{height}");
    }
}

#[test]
fn dg2_that_is_none_is_refused() {
    let record = Record::of(&[numbered(1, 50)]).bytes();
    let genuine = dg2_of(1, &[template(PRIMITIVE, &record)]);
    for (bad, expected) in [
        (tlv(0x75, b""), Reason::FaceRecordMalformed),
        (tlv(0x61, &genuine[2..]), Reason::FaceRecordMalformed),
        ([&genuine[..], &[0]].concat(), Reason::FaceRecordMalformed),
        (dg2_of(0, &[]), Reason::PortraitAbsent),
        (dg2_of(1, &[]), Reason::FaceRecordMalformed),
        (dg2_of(1, &[long_tag([0x7f, 0x60], &[])]), Reason::PortraitAbsent),
        (dg2_of(1, &[template(PRIMITIVE, b"")]), Reason::PortraitAbsent),
        (dg2_of(1, &[template(PRIMITIVE, b"FAC\x00020\x00")]), Reason::FaceRecordMalformed),
        (
            dg2_of(1, &[template(PRIMITIVE, &Record { count: Some(0), ..Record::of(&[]) }.bytes())]),
            Reason::PortraitAbsent,
        ),
        (dg2_of(1, &[template(CONSTRUCTED, &tlv(0x30, b""))]), Reason::FaceRecordMalformed),
        (dg2_of(1, &[template(CONSTRUCTED, &FaceImageData::block(&[]))]), Reason::PortraitAbsent),
        (vec![], Reason::FaceRecordMalformed),
    ] {
        assert_eq!(portrait(&bad).err(), Some(expected), "{bad:02x?}");
        assert_eq!(Dg2Info::read(&bad).problem, Some(expected));
    }
    for end in 0..14 + 32 {
        assert!(portrait(&dg2_of(1, &[template(PRIMITIVE, &record[..end])])).is_err(), "cut at {end}");
    }
    for end in 0..genuine.len() {
        assert!(portrait(&genuine[..end]).is_err(), "cut at {end}");
    }
    let sloppy = [&[0x75, 0x83, 0, 0, (genuine.len() - 3) as u8][..], &genuine[3..]].concat();
    assert_eq!(images_of(&sloppy), (vec![numbered(1, 50)], vec![Deviation::DataGroupNotDer]));
    assert_eq!(ImageType::sniff(&numbered(1, 50)), Some(ImageType::Jpeg));
}

proptest! {
    #[test]
    fn any_zone_of_the_right_characters_is_read_without_panic(
        format in 0..3usize,
        characters in "[A-Z0-9<]{90}",
        check in any::<bool>(),
    ) {
        let length = [90, 72, 88][format];
        let dg1 = file(&characters[..length]);
        let info = Dg1Info::read(&dg1, NOW);
        prop_assert_eq!(info.document_type, Some(FORMATS[format]));
        if check {
            let all_hold = info.check_digits.iter().all(|check| check.holds);
            prop_assert!(all_hold || matches!(info.problem, Some(Reason::MrzCheckDigit(_))));
        }
        prop_assert!(Dg1Info::unmasked(&dg1, NOW).is_some());
    }

    #[test]
    fn any_change_of_dg2_is_read_without_panic(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        format in any::<bool>(),
    ) {
        let mut dg2 = if format {
            dg2_of(1, &[template(PRIMITIVE, &Record::of(&[numbered(1, 20), numbered(2, 20)]).bytes())])
        } else {
            let data = FaceImageData { size: Some((413, 531)), ..FaceImageData::of(JPEG, 2) };
            dg2_of(1, &[template(CONSTRUCTED, &FaceImageData::block(&[data.representation(1)]))])
        };
        let at = at.index(dg2.len());
        dg2[at] = value;
        let info = Dg2Info::read(&dg2);
        prop_assert_eq!(info.problem, portrait(&dg2).err());
        prop_assert_eq!(portraits(&dg2).is_ok(), info.problem.is_none());
    }
}
