//! The guard of the hot functions: how many instructions each of them takes, under callgrind, to the budget in
//! bench/instructions.toml. Instructions are counted the same at every load, and on machines with the same compiler, C library and
//! processor features; time is not.

mod clients {
    use std::collections::BTreeMap;
    use std::fmt::Write;
    use std::path::Path;
    use std::process::Command;

    const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
    const HOT: &str = env!("CARGO_BIN_EXE_hot");
    /// How often a function is repeated, beyond once: what starting and preparing take is the same, and goes out.
    const TIMES: u64 = 20;
    /// By how much a function may take more than its budget, and how much less is worth a new one.
    const SLACK: f64 = 0.05;

    const HEAD: &str = "\
# Instructions that each hot function takes, counted under callgrind in a debug build with the compiler that is named here:
# another one counts otherwise, and is held to nothing. Renew it, and say in the commit why it moved:
#     OTPD_RENEW_INSTRUCTIONS=1 cargo test -p bench --features client-tests --test instructions -- --nocapture
";

    #[test]
    fn hot_functions_stay_within_their_budget() {
        let counted: BTreeMap<String, u64> = names().into_iter().map(|name| (name.clone(), cost(&name))).collect();
        let compiler = compiler();
        let text = std::fs::read_to_string(BUDGET).expect("the budget");
        let budget = read(&text);
        let shown = shown(&counted, &budget);
        println!("instructions, beside their budget ({BUDGET}):\n{shown}");
        if is_set("OTPD_RENEW_INSTRUCTIONS") {
            std::fs::write(BUDGET, written(&compiler, &counted)).expect("the budget is written");
            return;
        }
        let recorded = value(&text, "compiler").unwrap_or_default();
        if recorded != compiler {
            println!("not held to it: it was counted with {recorded}, this is {compiler}");
            return;
        }
        let known: Vec<_> = budget.keys().collect();
        assert_eq!(known, counted.keys().collect::<Vec<_>>(), "another list of functions: renew the budget\n{HEAD}");
        let over: Vec<_> = counted.iter().filter(|(name, count)| is_over(**count, budget[*name])).collect();
        assert!(over.is_empty(), "over the budget: {over:?}\n{shown}\nWhere that is meant, renew it:\n{HEAD}");
    }

    #[expect(clippy::cast_precision_loss, reason = "instructions of one call are far below 2^53")]
    fn is_over(count: u64, budget: u64) -> bool {
        count as f64 > budget as f64 * (1.0 + SLACK)
    }

    fn names() -> Vec<String> {
        let output = Command::new(HOT).output().expect("the hot functions");
        String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// What one call takes.
    fn cost(name: &str) -> u64 {
        instructions(name, TIMES + 1).saturating_sub(instructions(name, 1)) / TIMES
    }

    fn instructions(name: &str, times: u64) -> u64 {
        let dir = tempfile::TempDir::new().expect("a directory");
        let out = dir.path().join("callgrind.out");
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
        let ran = valgrind.args([HOT, name, &times.to_string()]).output();
        let ran =
            ran.expect("valgrind is missing. Debian: sudo apt-get install valgrind; Fedora: sudo dnf install valgrind");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let profile = std::fs::read_to_string(Path::new(&out)).expect("a profile");
        let totals = profile.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
        totals.trim().parse().expect("a count")
    }

    fn compiler() -> String {
        let output = Command::new(std::env!("CARGO")).args(["--version"]).output().expect("cargo");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    #[expect(clippy::disallowed_methods, reason = "the test run's own settings")]
    fn is_set(name: &str) -> bool {
        std::env::var_os(name).is_some()
    }

    /// The value of `name = "…"`.
    fn value(text: &str, name: &str) -> Option<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")))?;
        Some(line.trim_matches('"').to_owned())
    }

    /// Every `name = count`.
    fn read(text: &str) -> BTreeMap<String, u64> {
        let pairs = text.lines().filter_map(|line| line.split_once(" = "));
        pairs.filter_map(|(name, count)| Some((name.to_owned(), count.replace('_', "").parse().ok()?))).collect()
    }

    fn written(compiler: &str, counted: &BTreeMap<String, u64>) -> String {
        let mut text = format!("{HEAD}compiler = \"{compiler}\"\n\n[instructions]\n");
        for (name, count) in counted {
            writeln!(text, "{name} = {count}").expect("a String takes all");
        }
        text
    }

    fn shown(counted: &BTreeMap<String, u64>, budget: &BTreeMap<String, u64>) -> String {
        let lines = counted.iter().map(|(name, count)| {
            let budget = budget.get(name).map_or("none".to_owned(), u64::to_string);
            format!("  {name:20} {count:>12} {budget:>12}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
