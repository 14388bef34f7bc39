//! `cargo xtask test --conformance`: the API as a stranger's tool sees it. schemathesis reads the OpenAPI document that the
//! server serves, sends what it allows and what it forbids, and holds every answer against it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::process;
use xtask::services::Services;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Names the folder of the tools in the cache; raise it with every change of the requirements.
const TOOLS: &str = "conformance-1";
/// Repeats find the same; another seed may be given as an option.
const SEED: &str = "20261122";
/// Examples of each operation and phase: the run takes some two minutes on two cores.
const EXAMPLES: &str = "100";
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs it; `options` go to schemathesis.
pub fn run(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Tests)?;
    let tools = tools(workspace)?;
    process::check(workspace.cargo().args(["build", "-p", "proofmill-api"]))?;
    process::check(Command::new(tools.join("openapi-spec-validator")).arg(workspace.root.join("api/openapi.json")))?;

    let services = Services::start()?;
    let folder = services.temporary_folder()?;
    let api = Api { program: workspace.program("debug", "proofmill-api")?, folder, services: &services };
    let key = api.key()?;
    let server = api.serve()?;
    let report = workspace.root.join("target/conformance");
    fs::create_dir_all(&report).with_context(|| format!("cannot make {}", report.display()))?;

    let mut run = Command::new(tools.join("schemathesis"));
    run.env("PYTHONPATH", workspace.root.join("xtask/src/conformance")).env("SCHEMATHESIS_HOOKS", "proofmill_hooks");
    run.env("PYTHONDONTWRITEBYTECODE", "1");
    run.arg("--config-file").arg(workspace.root.join("xtask/src/conformance/schemathesis.toml"));
    run.current_dir(&report).arg("run").arg(format!("http://{}/openapi.json", server.address));
    run.args(["--header", &format!("Authorization: Bearer {key}")]);
    run.args(["--max-examples", EXAMPLES, "--seed", SEED, "--workers", "1", "--continue-on-failure"]);
    run.args([
        // The longest long poll takes twenty seconds.
        "--max-response-time",
        "25",
        "--request-timeout",
        "30",
        "--suppress-health-check",
        "all",
        "--no-color",
        "--generation-database",
        "none",
    ]);
    run.args(["--report", "junit,ndjson", "--report-dir"]).arg(&report).args(options);
    let status = process::run(&mut run)?;
    process::check_interrupted()?;
    let log = fs::read_to_string(&server.log).unwrap_or_default();
    if let Some(line) = log.lines().find(|line| line.contains("panicked") || line.contains("request failed inside")) {
        bail!("the server failed inside: {line}");
    }
    drop(server);
    eprintln!("conformance: reports are in {}", report.display());
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// The folder of the tools' programs, installed by pip if they are not there whole.
fn tools(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.cache.join(TOOLS);
    let (programs, complete) = (folder.join("bin"), folder.join("complete"));
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(programs);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(&workspace.cache).with_context(|| format!("cannot make {}", workspace.cache.display()))?;
    process::check(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .context("Debian's python3-venv may be missing")?;
    let list = folder.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).with_context(|| format!("cannot write {}", list.display()))?;
    let mut pip = Command::new(programs.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]).arg(&list);
    process::check(&mut pip)?;
    fs::write(&complete, REQUIREMENTS).with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(programs)
}

/// The program under test and where it keeps things.
struct Api<'a> {
    program: PathBuf,
    folder: PathBuf,
    services: &'a Services,
}

/// A server that ends with this value.
struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Api<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::null());
        command.env("PROOFMILL_DATABASE_URL", self.services.database_url());
        command.env("PROOFMILL_AMQP_URI", self.services.amqp_uri());
        command.env("PROOFMILL_KEYS_DIR", self.folder.join("keys"));
        command.env("PROOFMILL_VAULT_DIR", self.folder.join("vault"));
        command
    }

    /// The key of a fresh sandbox organisation.
    fn key(&self) -> Result<String> {
        process::output(&mut self.command(&["migrate"]))?;
        let made =
            process::output(&mut self.command(&["org", "create", "--name", "Conformance", "--sandbox", "--json"]))?;
        let organisation = member(&made, "id")?;
        let made = process::output(&mut self.command(&["keys", "create", "--org", &organisation, "--json"]))?;
        member(&made, "api_key")
    }

    fn serve(&self) -> Result<Server> {
        let [address, metrics] = [free_address()?, free_address()?];
        let log = self.folder.join("api.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut serve = self.command(&["serve", "--key-rate", "1000000", "--address-rate", "1000000"]);
        serve.args(["--listen", &address.to_string(), "--metrics-listen", &metrics.to_string()]);
        serve.stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = serve.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut server = Server { child, address, log };
        server.wait_until_ready()?;
        Ok(server)
    }
}

impl Server {
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(self.address).is_err() {
            process::check_interrupted()?;
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("proofmill-api serve did not start; see its log:\n{}", tail(&self.log));
            }
            process::pause();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?)
}

/// A text member of one JSON object: what is printed for programs has no escapes in it, and this crate has no JSON parser.
fn member(json: &str, name: &str) -> Result<String> {
    let after = json.split(&format!("\"{name}\":\"")).nth(1);
    let value = after.and_then(|rest| rest.split('"').next());
    value.map(str::to_owned).with_context(|| format!("no `{name}` in {json}"))
}
