//! Claims: what an accepted attempt tells, and no more than was selected.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::age::age_on;
use crate::share::ClaimKey;

/// What claims are made from: DG1 and DG2 of one accepted document. No `Debug`, wiped on drop.
pub struct DocumentData {
    /// Document code without filler, such as `P`.
    pub document_code: String,
    /// Issuing state or organisation without filler, such as `UTO` or `D`.
    pub issuing_state: String,
    /// Primary identifier; components separated by one space.
    pub primary_identifier: Zeroizing<String>,
    /// Secondary identifier; components separated by one space.
    pub secondary_identifier: Zeroizing<String>,
    /// Document number without filler.
    pub document_number: Zeroizing<String>,
    /// Nationality without filler.
    pub nationality: Zeroizing<String>,
    /// Date of birth, its century resolved by the document's reader; `None` where the document leaves day or month unknown
    /// (ICAO Doc 9303-3 section 4.8), which it may as long as no claim [needs it](needs_date_of_birth).
    pub date_of_birth: Option<Date>,
    /// `M`, `F` or, unspecified, `X`.
    pub sex_marker: char,
    /// Date of expiry.
    pub date_of_expiry: Date,
    /// Optional data without filler.
    pub optional_data: Zeroizing<String>,
    /// The portrait, if it is to be shared.
    pub photo: Option<Photo>,
}

/// The portrait as the chip holds it.
pub struct Photo {
    /// The image file.
    pub bytes: Zeroizing<Vec<u8>>,
    /// `jpeg` or `jpeg2000`.
    pub format: &'static str,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// An organisation's keys for derived ids. Each is a secret of its own, so that ids of two organisations cannot be linked.
pub struct DerivedIdKeys {
    /// For `kayle_document_id`.
    pub document: Zeroizing<Vec<u8>>,
    /// For `kayle_human_id`.
    pub human: Zeroizing<Vec<u8>>,
}

/// Whether a claim is made from the date of birth.
pub fn needs_date_of_birth(key: &str) -> bool {
    matches!(key, "date_of_birth" | "kayle_human_id") || matches!(ClaimKey::parse(key), Ok(ClaimKey::AgeOver(_)))
}

/// The claims that were selected, exactly those. Keys must come from
/// [`crate::share::ShareFields::check_selection`]; a key that is no claim is left out.
pub fn claims(document: &DocumentData, selected: &[String], keys: &DerivedIdKeys, today: Date) -> Value {
    let mut claims = Map::new();
    for key in selected {
        if let Some(value) = claim(document, key, keys, today) {
            claims.insert(key.clone(), value);
        }
    }
    Value::Object(claims)
}

fn claim(document: &DocumentData, key: &str, keys: &DerivedIdKeys, today: Date) -> Option<Value> {
    if let Ok(ClaimKey::AgeOver(years)) = ClaimKey::parse(key) {
        return Some(json!(age_on(document.date_of_birth?, today) >= i32::try_from(years).ok()?));
    }
    Some(match key {
        "document_type_code" => json!(document.document_code),
        "issuing_country_code" => json!(document.issuing_state),
        "family_name" => json!(*document.primary_identifier),
        "given_names" => json!(*document.secondary_identifier),
        "document_number" => json!(*document.document_number),
        "nationality_code" => json!(*document.nationality),
        "date_of_birth" => json!(document.date_of_birth?.to_string()),
        "sex_marker" => json!(document.sex_marker.to_string()),
        "document_expiry_date" => json!(document.date_of_expiry.to_string()),
        "mrz_optional_data" => json!(*document.optional_data),
        "kayle_document_id" => json!(document_id(document, &keys.document)),
        "kayle_human_id" => json!(human_id(document, document.date_of_birth?, &keys.human)),
        "document_photo" => document.photo.as_ref().map_or(Value::Null, |photo| {
            json!({
                "data_base64": STANDARD.encode(&*photo.bytes),
                "format": photo.format,
                "width": photo.width,
                "height": photo.height,
            })
        }),
        _ => return None,
    })
}

/// `kdid_` + hex HMAC-SHA256(key, country|type|number), upper case, no filler.
fn document_id(document: &DocumentData, key: &[u8]) -> String {
    let text = Zeroizing::new(format!(
        "{}|{}|{}",
        plain(&document.issuing_state),
        plain(&document.document_code),
        plain(&document.document_number)
    ));
    derived("kdid_", key, &text)
}

/// `khid_` + hex HMAC-SHA256(key, names|date of birth|issuing state): the same person across re-issued documents.
/// Two people of one name, birthday and country share it; a changed name changes it.
fn human_id(document: &DocumentData, date_of_birth: Date, key: &[u8]) -> String {
    let text = Zeroizing::new(format!(
        "{} {}|{}|{}",
        plain(&document.primary_identifier),
        plain(&document.secondary_identifier),
        date_of_birth,
        plain(&document.issuing_state)
    ));
    derived("khid_", key, &text)
}

fn derived(prefix: &str, key: &[u8], text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    format!("{prefix}{}", hex::encode(tag.as_ref()))
}

/// Upper case, fillers and repeated spaces gone.
fn plain(text: &str) -> String {
    let upper = Zeroizing::new(text.replace('<', " ").to_uppercase());
    upper.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn document() -> DocumentData {
        let text = |s: &str| Zeroizing::new(s.to_owned());
        DocumentData {
            document_code: "P".into(),
            issuing_state: "UTO".into(),
            primary_identifier: text("ERIKSSON"),
            secondary_identifier: text("ANNA MARIA"),
            document_number: text("L898902C3"),
            nationality: text("UTO"),
            date_of_birth: Some(date(1974, 8, 12)),
            sex_marker: 'F',
            date_of_expiry: date(2030, 4, 15),
            optional_data: text("ZE184226B"),
            photo: None,
        }
    }

    fn keys(byte: u8) -> DerivedIdKeys {
        DerivedIdKeys { document: Zeroizing::new(vec![byte; 32]), human: Zeroizing::new(vec![byte + 1; 32]) }
    }

    #[test]
    fn claims_hold_exactly_the_selected_keys() {
        let selected = ["age_over_18", "date_of_birth", "family_name"].map(str::to_owned);
        let claims = claims(&document(), &selected, &keys(1), date(2026, 11, 22));
        assert_eq!(claims, json!({"age_over_18": true, "date_of_birth": "1974-08-12", "family_name": "ERIKSSON"}));
    }

    #[test]
    fn an_unknown_day_of_birth_costs_only_what_is_made_of_it() {
        let needing = ["date_of_birth", "age_over_18", "kayle_human_id"];
        let others = ["family_name", "kayle_document_id", "age_over_018"];
        assert!(
            needing.iter().all(|key| needs_date_of_birth(key)) && !others.iter().any(|key| needs_date_of_birth(key))
        );
        let unknown = DocumentData { date_of_birth: None, ..document() };
        let selected: Vec<String> = needing.iter().chain(&others[..2]).map(|key| (*key).to_owned()).collect();
        let claims = claims(&unknown, &selected, &keys(1), date(2026, 11, 22));
        assert_eq!(claims.as_object().unwrap().keys().collect::<Vec<_>>(), ["family_name", "kayle_document_id"]);
    }

    #[test]
    fn an_age_gate_opens_on_the_birthday() {
        let gate = ["age_over_53".to_owned()];
        let on = |day| claims(&document(), &gate, &keys(1), day)["age_over_53"].clone();
        assert_eq!(on(date(2027, 8, 11)), json!(false));
        assert_eq!(on(date(2027, 8, 12)), json!(true));
    }

    #[test]
    fn a_holder_of_29_february_comes_of_age_on_1_march() {
        let born = DocumentData { date_of_birth: Some(date(2008, 2, 29)), ..document() };
        let gate = ["age_over_18".to_owned()];
        let on = |day| claims(&born, &gate, &keys(1), day)["age_over_18"].clone();
        assert_eq!((on(date(2026, 2, 28)), on(date(2026, 3, 1))), (json!(false), json!(true)));
    }

    #[test]
    fn the_photo_is_told_as_the_chip_holds_it() {
        let photo = Photo { bytes: Zeroizing::new(vec![0xff, 0xd8, 0xff]), format: "jpeg", width: 413, height: 531 };
        let with = DocumentData { photo: Some(photo), ..document() };
        let selected = ["document_photo".to_owned()];
        let told = claims(&with, &selected, &keys(1), date(2026, 11, 22));
        let expected = json!({"data_base64": "/9j/", "format": "jpeg", "width": 413, "height": 531});
        assert_eq!(told, json!({ "document_photo": expected }));
        let without = ["family_name".to_owned()];
        assert_eq!(claims(&with, &without, &keys(1), date(2026, 11, 22)), json!({"family_name": "ERIKSSON"}));
    }

    #[test]
    fn every_static_claim_can_be_made_and_has_its_shape() {
        let photo = Photo { bytes: Zeroizing::new(vec![1]), format: "jpeg2000", width: 1, height: 2 };
        let document = DocumentData { photo: Some(photo), ..document() };
        let selected = crate::share::STATIC_CLAIMS.map(str::to_owned);
        let told = claims(&document, &selected, &keys(1), date(2026, 11, 22));
        assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), selected.iter().collect::<Vec<_>>());
        assert_eq!(
            (&told["date_of_birth"], &told["document_expiry_date"]),
            (&json!("1974-08-12"), &json!("2030-04-15"))
        );
        assert_eq!((&told["sex_marker"], &told["mrz_optional_data"]), (&json!("F"), &json!("ZE184226B")));
        assert_eq!(told["document_photo"]["format"], "jpeg2000");
    }

    #[test]
    fn a_human_id_knows_names_birthday_and_state_and_nothing_else() {
        type Change = fn(&mut DocumentData);
        let id = |change: Change| {
            let mut document = document();
            change(&mut document);
            let selected = ["kayle_human_id".to_owned()];
            claims(&document, &selected, &keys(1), date(2026, 11, 22))["kayle_human_id"].clone()
        };
        let same = id(|_| {});
        let of_one_person: [(&str, Change); 5] = [
            ("another document", |d| *d.document_number = "X1".into()),
            ("another kind", |d| d.document_code = "I".into()),
            ("another nationality", |d| *d.nationality = "D".into()),
            ("fillers and case", |d| *d.secondary_identifier = "Anna<<Maria<".into()),
            // Known collision: where the names are divided is not told.
            ("names divided elsewhere", |d| {
                *d.primary_identifier = "ERIKSSON ANNA".into();
                *d.secondary_identifier = "MARIA".into();
            }),
        ];
        for (what, change) in of_one_person {
            assert_eq!(id(change), same, "{what}");
        }
        let of_others: [(&str, Change); 3] = [
            ("another given name", |d| *d.secondary_identifier = "ANNA".into()),
            ("another birthday", |d| d.date_of_birth = Some(date(1974, 8, 13))),
            ("another state", |d| d.issuing_state = "D".into()),
        ];
        for (what, change) in of_others {
            assert_ne!(id(change), same, "{what}");
        }
    }

    #[test]
    fn derived_ids_are_stable_and_unlinkable_across_organisations() {
        let selected = ["kayle_document_id", "kayle_human_id"].map(str::to_owned);
        let today = date(2026, 11, 22);
        let first = claims(&document(), &selected, &keys(1), today);
        assert_eq!(first, claims(&document(), &selected, &keys(1), today));
        let other = claims(&document(), &selected, &keys(7), today);
        for key in &selected {
            assert_ne!(first[key], other[key]);
            assert_eq!(first[key].as_str().unwrap().len(), 5 + 64);
        }
        // HMAC-SHA256 of "UTO|P|L898902C3" under 32 bytes of 0x01, by an independent implementation.
        assert_eq!(first["kayle_document_id"], "kdid_1dfa0b493189e3f3f27257873ad2c37e644083b26f6b872a1f9106e2dd2aab68");
        let mut reissued = document();
        *reissued.document_number = "X1".into();
        let second = claims(&reissued, &selected, &keys(1), today);
        assert_ne!(first["kayle_document_id"], second["kayle_document_id"]);
        assert_eq!(first["kayle_human_id"], second["kayle_human_id"]);
    }
}
