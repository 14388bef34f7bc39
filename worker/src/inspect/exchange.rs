//! Exchanges with a chip, by themselves: active authentication and chip authentication.
//!
//! Nothing here says that the key is the document's: that takes the SOD, which `inspect document` asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proofmill_emrtd::{self as emrtd, ActiveAuthentication, DeviationSet, GateResult, Reason, Terminal, Transcript};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::card_security;
use super::context::Context;
use super::data_groups;
use super::detail::Details;
use super::finding::{Finding, Trouble, refused};
use super::hex_json::{self, Object};

/// `inspect aa`.
pub fn judge_active_authentication(context: &Context, file: &str, text: &[u8]) -> Vec<Finding> {
    judge(
        context,
        file,
        "aa",
        text,
        &["dg15", "DG15", "nonce", "challenge", "rnd_ifd", "signature", "F"],
        active_authentication,
    )
}

/// `inspect ca`.
pub fn judge_chip_authentication(context: &Context, file: &str, text: &[u8]) -> Vec<Finding> {
    judge(
        context,
        file,
        "ca",
        text,
        &["dg14", "card_security", "TermPri", "TermPubKey", "SmRapdu", "Token", "CaData"],
        chip_authentication,
    )
}

fn judge(
    context: &Context,
    file: &str,
    kind: &'static str,
    text: &[u8],
    known: &[&str],
    one: fn(&Context, &Object<'_>, &mut Finding) -> Result<(), Trouble>,
) -> Vec<Finding> {
    let objects = match hex_json::objects(text, known) {
        Ok(objects) => objects,
        Err(trouble) => return vec![Finding::broken(file, kind, trouble)],
    };
    let judge = |object: &Object<'_>| {
        let place = match object.number {
            Some(number) => format!("{file}:{number}"),
            None => file.to_owned(),
        };
        let mut finding = Finding::new(&place, kind);
        if let Err(Trouble { reason, message }) = one(context, object, &mut finding) {
            finding.fail(reason, Some(message));
        }
        if let Some(name) = &object.name {
            finding.details.add("name", name.clone());
        }
        finding
    };
    objects.iter().map(judge).collect()
}

// -- active authentication

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "DG15")]
    dg15: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "DG14")]
    dg14: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "challenge", alias = "rnd_ifd")]
    nonce: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    signature: Option<Cow<'a, str>>,
    /// The block that RSA's public operation recovers, as in the worked example of ICAO Doc 9303-11 appendix F.
    #[serde(borrow, default, rename = "F")]
    recovered: Option<Cow<'a, str>>,
}

fn active_authentication(context: &Context, object: &Object<'_>, finding: &mut Finding) -> Result<(), Trouble> {
    let answer: Answer<'_> = object.read()?;
    finding.details.add_some("name", answer.name.as_deref());
    let challenge = hex_json::bytes("nonce", answer.nonce.as_deref())?;
    if let (Some(recovered), None) = (&answer.recovered, &answer.dg15) {
        let recovered = hex_json::bytes("F", Some(recovered))?;
        let holds = emrtd::recovered_message_holds(&recovered, &challenge);
        let result = if holds { Ok(()) } else { Err(Reason::ActiveAuthenticationInvalid) };
        finding.check("active_authentication", result, context);
        let recovered = Details::default().with("octets", recovered.len());
        finding.details.add("recovered_block", recovered);
        if context.strict {
            finding.fail("key_missing", Some("there is no dg15: nothing shows that a chip made the block".to_owned()));
        }
        finding.details.add("note", "the recovered block alone: there is no key, so nothing shows that a chip made it");
        return Ok(());
    }
    let dg15 = wrapped(0x6f, 0x30, hex_json::bytes("dg15", answer.dg15.as_deref())?);
    let dg14 = hex_json::optional_bytes("dg14", answer.dg14.as_deref())?.map(|dg14| wrapped(0x6e, 0x31, dg14));
    let signature = hex_json::bytes("signature", answer.signature.as_deref())?;
    let evidence = ActiveAuthentication { challenge: &challenge, signature: &signature };
    let result = emrtd::verify_active_authentication(&dg15, &evidence, dg14.as_ref().map(|dg14| dg14.as_slice()));
    conclude("active_authentication", result, context, finding);
    finding.details.add("signature_octets", signature.len());
    finding.details.add("dg15", data_groups::describe_dg15(&dg15));
    if let Some(dg14) = &dg14 {
        finding.details.add("dg14", data_groups::describe_dg14(dg14));
    }
    Ok(())
}

// -- chip authentication

fn chip_authentication(context: &Context, object: &Object<'_>, finding: &mut Finding) -> Result<(), Trouble> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = object.read()?;
    let text = |name: &str| members.get(name).and_then(|raw| serde_json::from_str::<Cow<'_, str>>(raw.get()).ok());
    finding.details.add_some("name", text("name").as_deref());
    let card_security = hex_json::optional_bytes("card_security", text("card_security").as_deref())?;
    let dg14 = match (text("dg14"), &card_security) {
        // EF.CardSecurity brings keys of its own.
        (None, Some(_)) => None,
        (dg14, _) => Some(wrapped(0x6e, 0x31, hex_json::bytes("dg14", dg14.as_deref())?)),
    };
    let dg14 = dg14.as_ref().map(|dg14| dg14.as_slice());
    let transcript = transcript_of(&members)?;
    let result = match (&card_security, dg14) {
        (Some(file), _) => emrtd::verify_chip_authentication_with_card_security(dg14, file, &transcript.evidence(None)),
        (None, dg14) => emrtd::verify_chip_authentication(dg14.unwrap_or_default(), &transcript.evidence(None)),
    };
    conclude("chip_authentication", result, context, finding);
    if let Some(file) = &card_security {
        card_security::judge_beside(context, file, finding);
    }
    finding.details.add_serialised("terminal", &transcript.terminal());
    if text("terminal").as_deref() == Some("server") && transcript.terminal() == Terminal::Integrator {
        let note = "a terminal's key that is in the file is known outside the server: judged as an integrator's";
        finding.details.add("note", note);
    }
    if let Some(dg14) = dg14 {
        finding.details.add("dg14", data_groups::describe_dg14(dg14));
    }
    Ok(())
}

/// The transcript in a file of a document's folder.
///
/// # Errors
/// `transcript_malformed`; names members, never quotes them.
pub fn transcript(text: &[u8]) -> Result<Transcript, Trouble> {
    let malformed = || Trouble::new("transcript_malformed", "the chip authentication transcript is not a JSON object");
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text).map_err(|_| malformed())?;
    transcript_of(&members)
}

/// Members that a transcript does not have are passed over. Whoever reads a private key from a file cannot say that
/// the server alone has it, so every such transcript is an integrator's.
fn transcript_of(members: &BTreeMap<Cow<'_, str>, &RawValue>) -> Result<Transcript, Trouble> {
    let own_terminal = members.contains_key("TermPri") || !members.contains_key("terminal");
    let mut json = Zeroizing::new(String::from("{"));
    json.push_str(if own_terminal { r#""terminal":"integrator""# } else { "" });
    for name in Transcript::MEMBERS {
        let value = match members.get(name) {
            Some(value) if value.get() != "null" && !(own_terminal && name == "terminal") => value.get(),
            _ => continue,
        };
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&format!("\"{name}\":"));
        json.push_str(value);
    }
    json.push('}');
    // The text of its errors names members and quotes nothing.
    serde_json::from_str(&json).map_err(|error| Trouble::new("transcript_malformed", error.to_string()))
}

/// A data group in its wrapper, from one that was recorded as its content alone.
fn wrapped(tag: u8, content: u8, bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let length = u16::try_from(bytes.len());
    match (bytes.first(), length) {
        (Some(first), Ok(length)) if *first == content => {
            Zeroizing::new([&[tag, 0x82][..], &length.to_be_bytes(), &bytes].concat())
        }
        _ => bytes,
    }
}

fn conclude(gate: &'static str, result: Result<DeviationSet, Reason>, context: &Context, finding: &mut Finding) {
    let result = result.and_then(|deviations| {
        let deviations: Vec<_> = deviations.iter().collect();
        finding.note(deviations.iter().copied());
        refused(&deviations, context).map_or(Ok(()), Err)
    });
    finding.check(gate, result, context);
    finding.gate("passive_authentication", GateResult::NotRun);
}
