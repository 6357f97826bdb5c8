//! How much a provider may have: settings that every provider's table may hold beside its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

/// The bounds of one provider in one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    pub per_second: Option<u32>,
    /// Messages that are being handed over at the same time.
    pub concurrent: Option<usize>,
}

const PER_SECOND: &str = "max_per_second";
const CONCURRENT: &str = "max_concurrent";
const MOST: u32 = 10_000;

/// Takes the bounds out of the providers' settings, which then are as their kinds know them. A table of nothing else goes
/// too: the environment's usual names may stand for its provider.
///
/// # Errors
/// Every bound that is none.
pub fn take(settings: &mut BTreeMap<String, Value>) -> Result<HashMap<String, Caps>, Vec<String>> {
    let mut problems = Vec::new();
    let mut all = HashMap::new();
    let mut of_bounds_alone = HashSet::new();
    for (name, settings) in settings.iter_mut() {
        let Some(table) = settings.as_object_mut() else { continue };
        let is_empty = table.is_empty();
        let mut bound = |setting: &str| {
            let value = table.remove(setting)?;
            let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
            let number = number.and_then(|number| u32::try_from(number).ok()).filter(|n| (1..=MOST).contains(n));
            if number.is_none() {
                problems.push(format!("providers.{name}.{setting} must be a whole number from 1 to {MOST}"));
            }
            number
        };
        let (per_second, concurrent) = (bound(PER_SECOND), bound(CONCURRENT));
        let concurrent = concurrent.and_then(|number| usize::try_from(number).ok());
        all.insert(name.clone(), Caps { per_second, concurrent });
        if table.is_empty() && !is_empty {
            of_bounds_alone.insert(name.clone());
        }
    }
    settings.retain(|name, _| !of_bounds_alone.contains(name));
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(table: Value) -> BTreeMap<String, Value> {
        BTreeMap::from([("acme".to_owned(), table)])
    }

    #[test]
    fn bounds_are_taken_out_whether_from_a_file_or_the_environment() {
        let mut settings = settings(json!({ "max_per_second": 50, "max_concurrent": "8", "url": "x" }));
        let caps = take(&mut settings).expect("bounds");
        assert_eq!(caps["acme"], Caps { per_second: Some(50), concurrent: Some(8) });
        assert_eq!(settings["acme"], json!({ "url": "x" }));
        let mut settings =
            BTreeMap::from([("acme".to_owned(), json!({ "max_concurrent": 8 })), ("b".to_owned(), json!({}))]);
        take(&mut settings).expect("bounds");
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["b"], "a table of bounds alone is none");
    }

    #[test]
    fn what_is_no_bound_is_named() {
        for bad in [json!(0), json!("many"), json!(10_001), json!(-1), json!(1.5)] {
            let mut settings = settings(json!({ "max_per_second": bad }));
            let problems = take(&mut settings).expect_err("no bound");
            assert!(settings.is_empty(), "it is no other table for that");
            assert_eq!(problems, ["providers.acme.max_per_second must be a whole number from 1 to 10000"]);
        }
    }
}
