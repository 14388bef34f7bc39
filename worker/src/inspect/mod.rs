//! `inspect`: what an engineer at an issuer or integrator needs to see why a document fails. Needs no server, no store
//! and no model pack; one finding a file, and no personal data unless it is asked for.

mod args;
mod card_security;
mod certificate;
mod context;
mod crl;
mod data_groups;
mod detail;
mod document;
mod exchange;
mod explain;
mod files;
mod finding;
mod hex_json;
mod master_list;
mod output;
mod parts;
mod sod;
mod trust;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;

use self::args::What;
pub use self::args::{HELP, InspectArgs};
use self::context::Context;
use self::finding::{Finding, Trouble};
use self::output::Format;

/// Runs the command; the answer is the process's exit status: 0 all valid, 1 some are not.
///
/// # Errors
/// It could not run at all: a trust path that cannot be read or is refused, an output that cannot be written.
pub fn run(args: InspectArgs) -> anyhow::Result<u8> {
    let (kind, options) = kind(&args.what);
    let context = Context::new(&args.what, options)?;
    let mut out = Out { format: Format::new(options.json), out: BufWriter::new(io::stdout().lock()), all_valid: true };
    let done = match kind {
        Kind::Document => document::judge_all(&context, &options.paths, &mut |finding| out.write(&finding)),
        Kind::Files(kind) => files::expand(&options.paths)
            .iter()
            .try_for_each(|path| kind.judge(&context, path).iter().try_for_each(|finding| out.write(finding))),
    };
    match done.and_then(|()| out.out.flush()) {
        Ok(()) => Ok(u8::from(!out.all_valid)),
        // Whoever read has enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(2),
        Err(error) => Err(error).context("cannot write what was found"),
    }
}

struct Out<W: Write> {
    format: Format,
    out: W,
    all_valid: bool,
}

impl<W: Write> Out<W> {
    fn write(&mut self, finding: &Finding) -> io::Result<()> {
        self.all_valid &= finding.is_valid();
        output::write(self.format, finding, &mut self.out)?;
        // A finding is shown when it is made, also when the next one takes long or comes from a pipe.
        self.out.flush()
    }
}

enum Kind {
    Files(FileKind),
    Document,
}

/// How files of a kind are read and judged.
struct FileKind {
    name: &'static str,
    limit: usize,
    /// Whether PEM is taken, too.
    armour: bool,
    judge: fn(&Context, &str, &[u8]) -> Vec<Finding>,
}

fn kind(what: &What) -> (Kind, &args::Options) {
    let file = |name, armour, judge| Kind::Files(FileKind { name, limit: files::MAX_FILE, armour, judge });
    let list = |name, judge| Kind::Files(FileKind { name, limit: files::MAX_LIST, armour: true, judge });
    match what {
        What::Sod(options) => (file("sod", true, sod::judge), options),
        What::Document(options) => (Kind::Document, &options.personal.common),
        What::Masterlist(options) => (list("masterlist", master_list::judge), &options.common),
        What::Cert(options) => (list("cert", certificate::judge), options),
        What::Crl(options) => (list("crl", crl::judge), options),
        What::Dg1(options) => (file("dg1", false, data_groups::judge_dg1), &options.common),
        What::Dg2(options) => (file("dg2", false, data_groups::judge_dg2), &options.common),
        What::Dg14(options) => (file("dg14", false, data_groups::judge_dg14), options),
        What::Dg15(options) => (file("dg15", false, data_groups::judge_dg15), options),
        What::Aa(options) => (file("aa", false, exchange::judge_active_authentication), options),
        What::Ca(options) => (file("ca", false, exchange::judge_chip_authentication), options),
        What::Cardsecurity(options) => (file("cardsecurity", true, card_security::judge), options),
    }
}

impl FileKind {
    /// One finding for each object of a file, or one that says why there is none.
    fn judge(&self, context: &Context, path: &Path) -> Vec<Finding> {
        let name = path.display().to_string();
        let broken = |trouble: Trouble| vec![Finding::broken(&name, self.name, trouble)];
        let bytes = match files::read(path, self.limit) {
            Ok(bytes) => bytes,
            Err(trouble) => return broken(trouble),
        };
        if !self.armour {
            return (self.judge)(context, &name, &bytes);
        }
        match files::objects(bytes) {
            Ok(objects) if objects.len() == 1 => {
                objects.iter().flat_map(|bytes| (self.judge)(context, &name, bytes)).collect()
            }
            Ok(objects) => {
                let numbered = objects.iter().enumerate();
                numbered
                    .flat_map(|(index, bytes)| (self.judge)(context, &format!("{name}:{}", index + 1), bytes))
                    .collect()
            }
            Err(trouble) => broken(trouble),
        }
    }
}
