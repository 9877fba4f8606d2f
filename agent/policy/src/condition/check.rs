use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators};

use super::facts::{ALONE, CALLER, IN_BODY, LABEL, LABELS, REGEX, REQUEST};
use super::regexes::Regex;

/// How deep an expression may be. Evaluating it takes frames of the stack for each, 40 KiB where they are not optimised. A chain of
/// `&&` or `||` is as deep as the logarithm of its length.
const DEEPEST: usize = 24;

/// How many parts all turns of a loop may evaluate together: some milliseconds.
const LONGEST_LOOP: usize = 20_000;

/// What a condition may call beside operators. Others cost too much, make lists, or have no use here.
const FUNCTIONS: [&str; 22] = [
    "matches",
    "startsWith",
    "endsWith",
    "contains",
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

const OPERATORS: [(&str, &str); 18] = [
    (operators::INDEX, "[]"),
    (operators::CONDITIONAL, "?:"),
    (operators::LOGICAL_AND, "&&"),
    (operators::LOGICAL_OR, "||"),
    (operators::LOGICAL_NOT, "!"),
    (operators::SUBSTRACT, "-"),
    (operators::ADD, "+"),
    (operators::MULTIPLY, "*"),
    (operators::DIVIDE, "/"),
    (operators::MODULO, "%"),
    (operators::EQUALS, "=="),
    (operators::NOT_EQUALS, "!="),
    (operators::GREATER_EQUALS, ">="),
    (operators::LESS_EQUALS, "<="),
    (operators::GREATER, ">"),
    (operators::LESS, "<"),
    (operators::NEGATE, "-"),
    (operators::IN, "in"),
];

/// Looks through an expression once: refuses what a condition has no use for, and makes names of fields and labels single
/// variables, so that evaluating one looks up only that. `x.matches("…")` gets its compiled expression.
pub(super) fn check(expression: &mut IdedExpr) -> Result<Checked, String> {
    let mut checker = Checker::default();
    checker.walk(expression, 0)?;
    Ok(checker.checked)
}

/// What a condition needs.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) regexes: Vec<Regex>,
    pub(super) needs_body: bool,
}

#[derive(Default)]
struct Checker {
    checked: Checked,
    /// Variables of the macros around.
    scope: Vec<String>,
    /// Parts seen so far.
    parts: usize,
}

/// An operator as it is written.
pub(super) fn operator(name: &str) -> &str {
    OPERATORS.iter().find(|(own, _)| *own == name).map_or(name, |(_, written)| written)
}

impl Checker {
    fn walk(&mut self, expression: &mut IdedExpr, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep; use several rules, or a list with in"));
        }
        let depth = depth + 1;
        self.parts += 1;
        match &mut expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => match self.select(select, depth)? {
                Some(variable) => {
                    expression.expr = Expr::Ident(variable);
                    Ok(())
                }
                None => Ok(()),
            },
            Expr::Call(call) => match self.call(call, depth)? {
                Some(variable) => {
                    expression.expr = Expr::Ident(variable);
                    Ok(())
                }
                None => Ok(()),
            },
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.walk(element, depth)),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Map(_) | Expr::Struct(_) => Err("maps and messages are of no use here; write a list".to_owned()),
            Expr::Unspecified => Err("a part of it is missing".to_owned()),
        }
    }

    fn name(&self, name: &str) -> Result<(), String> {
        if self.scope.iter().any(|own| own == name) || ALONE.contains(&name) {
            return Ok(());
        }
        if name == "caller" || name == "request" {
            return Err(format!("{name} needs one of its fields: {}", fields(name).join(", ")));
        }
        let known = ALONE.into_iter().chain(["caller", "request"]);
        // People forget the first part.
        let of = ["caller", "request"].into_iter().find(|of| fields(of).contains(&name));
        Err(match (of, nearest(name, known)) {
            (Some(of), _) => format!("there is no {name}; do you mean {of}.{name}?"),
            (None, Some(near)) => format!("there is no {name}; do you mean {near}?"),
            (None, None) => format!("there is no {name}; there are caller, request, team, cost_center and now"),
        })
    }

    /// Gives the variable that is meant, where it is one.
    fn select(&mut self, select: &mut SelectExpr, depth: usize) -> Result<Option<String>, String> {
        let field = select.field.as_str();
        if let Some(of) = root(&select.operand) {
            if !fields(of).contains(&field) {
                return Err(match nearest(field, fields(of).iter().copied()) {
                    Some(near) => format!("{of} has no {field}; do you mean {of}.{near}?"),
                    None => format!("{of} has no {field}; it has {}", fields(of).join(", ")),
                });
            }
            if select.test {
                return Err(format!(
                    "{of}.{field} is always there, empty or 0 where it is not known; compare it with that"
                ));
            }
            self.checked.needs_body |= of == "request" && IN_BODY.contains(&field);
            return Ok(Some(format!("{of}.{field}")));
        }
        if !is_labels(&select.operand) {
            // What it is a field of may be misspelt.
            self.walk(&mut select.operand, depth)?;
            let field = &select.field;
            return Err(format!("only caller, request and caller.labels have fields, and so there is no {field}"));
        }
        if select.test {
            self.walk(&mut select.operand, depth)?;
            return Ok(None);
        }
        Ok(Some(format!("{LABEL}{field}")))
    }

    /// Gives the variable that is meant, where it is one.
    fn call(&mut self, call: &mut CallExpr, depth: usize) -> Result<Option<String>, String> {
        let name = call.func_name.as_str();
        if name == operators::INDEX {
            if let [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(label)), .. }] = call.args.as_slice()
                && is_labels(of)
            {
                return Ok(Some(format!("{LABEL}{}", label.inner())));
            }
        } else if name == "map" || name == "filter" {
            return Err(lists());
        } else if name == "matches" {
            let function = call.target.is_none();
            let ([regex], false) = (call.args.as_mut_slice(), function) else {
                return Err("matches is written text.matches(\"regular expression\")".to_owned());
            };
            let Expr::Literal(LiteralValue::String(text)) = &regex.expr else {
                return Err("matches takes a text in quotes, so that it can be compiled ahead".to_owned());
            };
            let compiled = Regex::new(text.inner())?;
            regex.expr = Expr::Ident(format!("{REGEX}{}", self.checked.regexes.len()));
            self.checked.regexes.push(compiled);
            call.target.iter_mut().try_for_each(|target| self.walk(target, depth))?;
            return Ok(None);
        } else if !FUNCTIONS.contains(&name)
            && name != operators::NOT_STRICTLY_FALSE
            && !OPERATORS.iter().any(|(own, _)| *own == name)
        {
            return Err(match nearest(name, FUNCTIONS.into_iter().chain(["has", "all", "exists", "exists_one"])) {
                Some(near) => format!("there is no function {name}; do you mean {near}?"),
                None => format!(
                    "there is no function {name}; there are {}, has, all, exists, exists_one",
                    FUNCTIONS.join(", ")
                ),
            });
        }
        call.target.iter_mut().map(AsMut::as_mut).chain(&mut call.args).try_for_each(|part| self.walk(part, depth))?;
        Ok(None)
    }

    /// A loop, which `all`, `exists` and `exists_one` are. Lists come from the text itself or are the labels of a pod, and a loop in
    /// a loop is refused, so what one costs is bounded.
    fn comprehension(&mut self, of: &mut ComprehensionExpr, depth: usize) -> Result<(), String> {
        if matches!(of.accu_init.expr, Expr::List(_)) {
            return Err(lists());
        }
        if !self.scope.is_empty() {
            return Err("all, exists and exists_one cannot stand within each other; use several rules".to_owned());
        }
        let own = [Some(&of.iter_var), of.iter_var2.as_ref(), Some(&of.accu_var)];
        let own: Vec<String> = own.into_iter().flatten().cloned().collect();
        if let Some(name) =
            own.iter().find(|name| ALONE.contains(&name.as_str()) || ["caller", "request"].contains(&name.as_str()))
        {
            return Err(format!("{name} is taken; give the variable another name"));
        }
        let before = self.parts;
        self.walk(&mut of.iter_range, depth)?;
        let turns = if matches!(of.iter_range.expr, Expr::List(_)) { 0 } else { LABELS }.max(self.parts - before);
        self.walk(&mut of.accu_init, depth)?;
        self.scope = own;
        let before = self.parts;
        let parts = [&mut of.loop_cond, &mut of.loop_step, &mut of.result];
        let walked = parts.into_iter().try_for_each(|part| self.walk(part, depth));
        self.scope.clear();
        if turns * (self.parts - before) > LONGEST_LOOP {
            return Err(
                "the loop would take too long; write less in it, or use in, matches or several rules".to_owned()
            );
        }
        walked
    }
}

/// `caller` or `request`, where it is that.
fn root(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::Ident(name) => ["caller", "request"].into_iter().find(|root| root == name),
        _ => None,
    }
}

fn is_labels(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Select(select)
        if !select.test && select.field == "labels" && root(&select.operand) == Some("caller"))
}

fn fields(of: &str) -> &'static [&'static str] {
    if of == "caller" { &CALLER } else { &REQUEST }
}

fn lists() -> String {
    "map and filter make lists, of which a condition has no use; write all or exists".to_owned()
}

/// The name most like one that is not known, if any is like it.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let like = |known: &'a str| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known);
    let best = known.map(like).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, known)| known)
}
