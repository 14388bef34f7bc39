//! PACE with chip authentication mapping (ICAO Doc 9303-11 section 4.4.3.5): the chip authentication
//! data are the chip's ephemeral private key of the mapping divided by its static private key, so
//! the static public key times the data must be the ephemeral public key.

use super::{closest, offer::Offer};
use crate::{
    crypto::key_agreement::{AgreementError, Domain, PublicValue, multiple},
    deviation::DeviationSet,
    evidence::ChipAuthenticationMapping,
    report::Reason,
};

pub(super) fn verify(offers: &[Offer], transcript: &ChipAuthenticationMapping<'_>) -> Result<DeviationSet, Reason> {
    closest(offers, |_, chip| {
        // The mapping is defined for elliptic curves only.
        let Domain::Curve(_) = chip.domain() else { return Err(Reason::ChipAuthenticationUnsupported) };
        let malformed = Reason::ChipAuthenticationTranscriptMalformed;
        let mapping_key = PublicValue::new(chip.domain(), transcript.mapping_public_key).ok_or(malformed)?;
        // The data come from the integrator, who knows them: variable time is fine.
        let product = multiple(transcript.chip_authentication_data, chip).map_err(|error| match error {
            AgreementError::PrivateKeyOutOfRange => malformed,
            AgreementError::NoCurve => Reason::ChipAuthenticationUnsupported,
        })?;
        if product == mapping_key { Ok(()) } else { Err(Reason::ChipAuthenticationInvalid) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of ICAO Doc 9303-11 appendix I, with the info that its EF.CardSecurity has.
    #[test]
    fn the_worked_example_of_doc_9303_holds() {
        let bytes = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
        let info = bytes(
            "30620609 04007F00 07020201 02305230 0C060704 007F0007 01020201 0D034200 04187270 9494399E 7470A643 1BE25E83 \
             EEE24FEA 568C2ED2 8DB48E05 DB3A610D C884D256 A40E35EF CB59BF67 53D3A489 D28C7A4D 973C2DA1 38A6E7A4 A08F68E1 \
             6F02010D",
        );
        let offers = Offer::read(&[&[0x6e, 0x66, 0x31, 0x64][..], &info].concat()).unwrap();
        let key = bytes(
            "04 A234236A A9B9621E 8EFB73B5 245C0E09 D2576E52 77183C12 08BDD552 80CAE8B3 \
             04F36571 3A356E65 A451E165 ECC9AC0A C46E3771 342C8FE5 AEDD0926 85338E23",
        );
        let data = bytes("85DC3FA9 3D0952BF A82F5FD1 89EE75BD 82F11D1F 0B8ED4BF 5319AC9B 53C426B3");
        let verdict = |mapping_public_key: &[u8], chip_authentication_data: &[u8]| {
            verify(&offers, &ChipAuthenticationMapping { mapping_public_key, chip_authentication_data })
        };
        assert_eq!(verdict(&key, &data), Ok(DeviationSet::EMPTY));
        for at in 0..data.len() {
            let mut other = data.clone();
            other[at] ^= 1;
            assert!(verdict(&key, &other).is_err());
        }
        // The other point with this x.
        let mut negative = key.clone();
        let p = bytes("A9FB57DB A1EEA9BC 3E660A90 9D838D72 6E3BF623 D5262028 2013481D 1F6E5377");
        let mut borrow = 0i16;
        for at in (0..32).rev() {
            let difference = i16::from(p[at]) - i16::from(key[33 + at]) - borrow;
            borrow = i16::from(difference < 0);
            negative[33 + at] = difference.rem_euclid(256) as u8;
        }
        assert_eq!(verdict(&negative, &data), Err(Reason::ChipAuthenticationInvalid));
    }
}
