//! Countries of certificates (ISO 3166-1 alpha-2) against issuing states of the machine readable
//! zone (alpha-3 and the additions of ICAO Doc 9303-3 section 5).

/// How two codes compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountryMatch {
    Equal,
    /// Equal by an alias, which is reported.
    Alias,
    Different,
}

/// Compares the countries of two certificates.
pub(crate) fn compare_certificates(one: &str, other: &str) -> CountryMatch {
    if one.eq_ignore_ascii_case(other) {
        return CountryMatch::Equal;
    }
    if alpha2(one) == alpha2(other) { CountryMatch::Alias } else { CountryMatch::Different }
}

/// Compares a certificate's country with the issuing state of the machine readable zone.
pub(crate) fn compare_with_mrz(certificate: &str, issuing_state: &str) -> CountryMatch {
    let certificate = certificate.to_ascii_uppercase();
    let issuing_state = issuing_state.to_ascii_uppercase();
    if let Some((_, alpha2)) = ISO_3166.iter().find(|(alpha3, _)| *alpha3 == issuing_state)
        && *alpha2 == certificate
    {
        return CountryMatch::Equal;
    }
    // Organisations and Germany have codes of their own in 9303, so these are no aliases.
    if OTHER_MRZ_CODES.contains(&(issuing_state.as_str(), certificate.as_str()))
        || certificate == issuing_state
        || user_assigned(&issuing_state, &certificate)
    {
        return CountryMatch::Equal;
    }
    if alpha2(&issuing_state) == alpha2(&certificate) {
        return CountryMatch::Alias;
    }
    CountryMatch::Different
}

/// One alpha-2 code for everything that stands for the same issuer.
fn alpha2(code: &str) -> String {
    let code = code.to_ascii_uppercase();
    let alpha2 = ISO_3166
        .iter()
        .chain(OTHER_MRZ_CODES)
        .chain(ALIASES)
        .find(|(alias, _)| *alias == code)
        .map_or(code.as_str(), |(_, alpha2)| *alpha2);
    // Kosovo has certificates under KS and the ISO user-assigned XK; Hong Kong and Macao issue under CN.
    match alpha2 {
        "XK" => "KS",
        "HK" | "MO" => "CN",
        other => other,
    }
    .to_owned()
}

/// Codes that ISO 3166-1 leaves to its users (AA, QM to QZ, XA to XZ, ZZ and the alpha-3 codes
/// that begin so): an issuer without a code of its own pairs one of each.
fn user_assigned(issuing_state: &str, certificate: &str) -> bool {
    let left_to_users = match certificate.as_bytes() {
        b"AA" | b"ZZ" => true,
        [b'Q', second] => (b'M'..=b'Z').contains(second),
        [b'X', second] => second.is_ascii_uppercase(),
        _ => false,
    };
    left_to_users && issuing_state.len() == 3 && issuing_state.starts_with(certificate)
}

/// Codes of ICAO Doc 9303-3 section 5 parts B to E that are not in ISO 3166-1.
const OTHER_MRZ_CODES: &[(&str, &str)] = &[
    ("D", "DE"),
    ("EUE", "EU"),
    ("RKS", "KS"),
    ("UNO", "UN"),
    ("UNA", "UN"),
    ("UTO", "UT"),
    ("XOM", "XM"),
    ("XPO", "XP"),
];

/// Codes that stand for a country under another name: the British variants, the United Nations'
/// mission in Kosovo, reserved codes.
const ALIASES: &[(&str, &str)] = &[
    ("GBD", "GB"),
    ("GBN", "GB"),
    ("GBO", "GB"),
    ("GBP", "GB"),
    ("GBS", "GB"),
    ("UK", "GB"),
    ("UNK", "UN"),
    ("EL", "GR"),
    ("XKX", "KS"),
    ("ZAR", "CD"),
    ("ROM", "RO"),
    ("TMP", "TL"),
];

/// ISO 3166-1: alpha-3 and alpha-2.
const ISO_3166: &[(&str, &str)] = &[
    ("ABW", "AW"),
    ("AFG", "AF"),
    ("AGO", "AO"),
    ("AIA", "AI"),
    ("ALA", "AX"),
    ("ALB", "AL"),
    ("AND", "AD"),
    ("ARE", "AE"),
    ("ARG", "AR"),
    ("ARM", "AM"),
    ("ASM", "AS"),
    ("ATA", "AQ"),
    ("ATF", "TF"),
    ("ATG", "AG"),
    ("AUS", "AU"),
    ("AUT", "AT"),
    ("AZE", "AZ"),
    ("BDI", "BI"),
    ("BEL", "BE"),
    ("BEN", "BJ"),
    ("BES", "BQ"),
    ("BFA", "BF"),
    ("BGD", "BD"),
    ("BGR", "BG"),
    ("BHR", "BH"),
    ("BHS", "BS"),
    ("BIH", "BA"),
    ("BLM", "BL"),
    ("BLR", "BY"),
    ("BLZ", "BZ"),
    ("BMU", "BM"),
    ("BOL", "BO"),
    ("BRA", "BR"),
    ("BRB", "BB"),
    ("BRN", "BN"),
    ("BTN", "BT"),
    ("BVT", "BV"),
    ("BWA", "BW"),
    ("CAF", "CF"),
    ("CAN", "CA"),
    ("CCK", "CC"),
    ("CHE", "CH"),
    ("CHL", "CL"),
    ("CHN", "CN"),
    ("CIV", "CI"),
    ("CMR", "CM"),
    ("COD", "CD"),
    ("COG", "CG"),
    ("COK", "CK"),
    ("COL", "CO"),
    ("COM", "KM"),
    ("CPV", "CV"),
    ("CRI", "CR"),
    ("CUB", "CU"),
    ("CUW", "CW"),
    ("CXR", "CX"),
    ("CYM", "KY"),
    ("CYP", "CY"),
    ("CZE", "CZ"),
    ("DEU", "DE"),
    ("DJI", "DJ"),
    ("DMA", "DM"),
    ("DNK", "DK"),
    ("DOM", "DO"),
    ("DZA", "DZ"),
    ("ECU", "EC"),
    ("EGY", "EG"),
    ("ERI", "ER"),
    ("ESH", "EH"),
    ("ESP", "ES"),
    ("EST", "EE"),
    ("ETH", "ET"),
    ("FIN", "FI"),
    ("FJI", "FJ"),
    ("FLK", "FK"),
    ("FRA", "FR"),
    ("FRO", "FO"),
    ("FSM", "FM"),
    ("GAB", "GA"),
    ("GBR", "GB"),
    ("GEO", "GE"),
    ("GGY", "GG"),
    ("GHA", "GH"),
    ("GIB", "GI"),
    ("GIN", "GN"),
    ("GLP", "GP"),
    ("GMB", "GM"),
    ("GNB", "GW"),
    ("GNQ", "GQ"),
    ("GRC", "GR"),
    ("GRD", "GD"),
    ("GRL", "GL"),
    ("GTM", "GT"),
    ("GUF", "GF"),
    ("GUM", "GU"),
    ("GUY", "GY"),
    ("HKG", "HK"),
    ("HMD", "HM"),
    ("HND", "HN"),
    ("HRV", "HR"),
    ("HTI", "HT"),
    ("HUN", "HU"),
    ("IDN", "ID"),
    ("IMN", "IM"),
    ("IND", "IN"),
    ("IOT", "IO"),
    ("IRL", "IE"),
    ("IRN", "IR"),
    ("IRQ", "IQ"),
    ("ISL", "IS"),
    ("ISR", "IL"),
    ("ITA", "IT"),
    ("JAM", "JM"),
    ("JEY", "JE"),
    ("JOR", "JO"),
    ("JPN", "JP"),
    ("KAZ", "KZ"),
    ("KEN", "KE"),
    ("KGZ", "KG"),
    ("KHM", "KH"),
    ("KIR", "KI"),
    ("KNA", "KN"),
    ("KOR", "KR"),
    ("KWT", "KW"),
    ("LAO", "LA"),
    ("LBN", "LB"),
    ("LBR", "LR"),
    ("LBY", "LY"),
    ("LCA", "LC"),
    ("LIE", "LI"),
    ("LKA", "LK"),
    ("LSO", "LS"),
    ("LTU", "LT"),
    ("LUX", "LU"),
    ("LVA", "LV"),
    ("MAC", "MO"),
    ("MAF", "MF"),
    ("MAR", "MA"),
    ("MCO", "MC"),
    ("MDA", "MD"),
    ("MDG", "MG"),
    ("MDV", "MV"),
    ("MEX", "MX"),
    ("MHL", "MH"),
    ("MKD", "MK"),
    ("MLI", "ML"),
    ("MLT", "MT"),
    ("MMR", "MM"),
    ("MNE", "ME"),
    ("MNG", "MN"),
    ("MNP", "MP"),
    ("MOZ", "MZ"),
    ("MRT", "MR"),
    ("MSR", "MS"),
    ("MTQ", "MQ"),
    ("MUS", "MU"),
    ("MWI", "MW"),
    ("MYS", "MY"),
    ("MYT", "YT"),
    ("NAM", "NA"),
    ("NCL", "NC"),
    ("NER", "NE"),
    ("NFK", "NF"),
    ("NGA", "NG"),
    ("NIC", "NI"),
    ("NIU", "NU"),
    ("NLD", "NL"),
    ("NOR", "NO"),
    ("NPL", "NP"),
    ("NRU", "NR"),
    ("NZL", "NZ"),
    ("OMN", "OM"),
    ("PAK", "PK"),
    ("PAN", "PA"),
    ("PCN", "PN"),
    ("PER", "PE"),
    ("PHL", "PH"),
    ("PLW", "PW"),
    ("PNG", "PG"),
    ("POL", "PL"),
    ("PRI", "PR"),
    ("PRK", "KP"),
    ("PRT", "PT"),
    ("PRY", "PY"),
    ("PSE", "PS"),
    ("PYF", "PF"),
    ("QAT", "QA"),
    ("REU", "RE"),
    ("ROU", "RO"),
    ("RUS", "RU"),
    ("RWA", "RW"),
    ("SAU", "SA"),
    ("SDN", "SD"),
    ("SEN", "SN"),
    ("SGP", "SG"),
    ("SGS", "GS"),
    ("SHN", "SH"),
    ("SJM", "SJ"),
    ("SLB", "SB"),
    ("SLE", "SL"),
    ("SLV", "SV"),
    ("SMR", "SM"),
    ("SOM", "SO"),
    ("SPM", "PM"),
    ("SRB", "RS"),
    ("SSD", "SS"),
    ("STP", "ST"),
    ("SUR", "SR"),
    ("SVK", "SK"),
    ("SVN", "SI"),
    ("SWE", "SE"),
    ("SWZ", "SZ"),
    ("SXM", "SX"),
    ("SYC", "SC"),
    ("SYR", "SY"),
    ("TCA", "TC"),
    ("TCD", "TD"),
    ("TGO", "TG"),
    ("THA", "TH"),
    ("TJK", "TJ"),
    ("TKL", "TK"),
    ("TKM", "TM"),
    ("TLS", "TL"),
    ("TON", "TO"),
    ("TTO", "TT"),
    ("TUN", "TN"),
    ("TUR", "TR"),
    ("TUV", "TV"),
    ("TWN", "TW"),
    ("TZA", "TZ"),
    ("UGA", "UG"),
    ("UKR", "UA"),
    ("UMI", "UM"),
    ("URY", "UY"),
    ("USA", "US"),
    ("UZB", "UZ"),
    ("VAT", "VA"),
    ("VCT", "VC"),
    ("VEN", "VE"),
    ("VGB", "VG"),
    ("VIR", "VI"),
    ("VNM", "VN"),
    ("VUT", "VU"),
    ("WLF", "WF"),
    ("WSM", "WS"),
    ("YEM", "YE"),
    ("ZAF", "ZA"),
    ("ZMB", "ZM"),
    ("ZWE", "ZW"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_compared_with_their_aliases() {
        for (certificate, mrz, expected) in [
            ("DE", "D", CountryMatch::Equal),
            ("de", "D", CountryMatch::Equal),
            ("gb", "GBR", CountryMatch::Equal),
            ("GB", "GBD", CountryMatch::Alias),
            ("UN", "UNO", CountryMatch::Equal),
            ("UN", "UNK", CountryMatch::Alias),
            ("EU", "EUE", CountryMatch::Equal),
            ("KS", "RKS", CountryMatch::Equal),
            ("XK", "RKS", CountryMatch::Alias),
            ("CN", "HKG", CountryMatch::Alias),
            ("UT", "UTO", CountryMatch::Equal),
            ("XA", "XAB", CountryMatch::Equal),
            ("XA", "XBA", CountryMatch::Different),
            ("AT", "AUS", CountryMatch::Different),
            ("AU", "AUT", CountryMatch::Different),
            ("", "AUT", CountryMatch::Different),
            ("AT", "", CountryMatch::Different),
        ] {
            assert_eq!(compare_with_mrz(certificate, mrz), expected, "{certificate} {mrz}");
        }
        assert_eq!(compare_certificates("gb", "GB"), CountryMatch::Equal);
        assert_eq!(compare_certificates("UK", "GB"), CountryMatch::Alias);
        assert_eq!(compare_certificates("DE", "FR"), CountryMatch::Different);
    }
}
