//! A list of accesses as one page to print: no scripts, nothing from elsewhere, all text escaped.

use std::path::Path;

use super::event::EventView;
use super::log::LogView;
use super::qr;
use crate::context::escaped;
use crate::petition;
use crate::text::counted;

/// Of the page: readable, and on paper with the head of the table on each sheet.
const STYLE: &str = "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#111}\
table{border-collapse:collapse;width:100%}thead{display:table-header-group}tr{break-inside:avoid}\
th,td{border:1px solid #999;padding:.3em .5em;text-align:left;vertical-align:top}th{background:#eee}\
tr.denied td:last-child{font-weight:bold}code{overflow-wrap:anywhere}\
figure{margin:1em 0}svg{width:12em;height:12em}\
@media print{body{font-size:10pt;margin:0;max-width:none}}";

/// The page.
pub(super) fn page(view: &LogView, names: bool) -> String {
    let shown = match view.events.is_empty() {
        true if view.from == 0 => "<p>Nobody has asked.</p>\n".to_owned(),
        true => "<p>Nobody has asked since.</p>\n".to_owned(),
        false => table(&view.head(names), view.events.iter().map(|event| row(event, names))),
    };
    let intro = format!(
        "<p>Patient <code>{}</code>, up to {}. Times are in {}.</p>\n",
        text(&view.patient),
        text(&view.zone.time_ms(view.at_ms)),
        text(&view.zone.name())
    );
    let (sealed, requests) = (sealed(view, names), view.requests().html());
    let body = format!("{intro}{shown}{sealed}{requests}{}{}", petitions(view), proof(view));
    document("Who has asked to read these records", &body)
}

/// What the patient has asked, with its answers and deadlines.
fn petitions(view: &LogView) -> String {
    if view.petitions.is_empty() {
        return String::new();
    }
    let head = petition::view::head(view.zone);
    let rows = view.petitions.iter().map(|row| format!("<tr>{}</tr>\n", cells(row)));
    format!("<h2>What was asked about it</h2>\n{}", table(&head, rows))
}

/// A page around what is in its body.
pub(super) fn document(title: &str, body: &str) -> String {
    let title = text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// A table with rows that are made already.
pub(super) fn table(head: &[String], rows: impl Iterator<Item = String>) -> String {
    let head: String = head.iter().map(|cell| format!("<th scope=\"col\">{}</th>", text(&sentence(cell)))).collect();
    let rows: String = rows.collect();
    format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

/// Cells of a row.
pub(super) fn cells(cells: &[String]) -> String {
    cells.iter().map(|cell| format!("<td>{}</td>", text(cell))).collect()
}

/// What is sealed, and what was and is open now.
fn sealed(view: &LogView, names: bool) -> String {
    let told: String = view.seals().iter().map(|line| format!("<p>{}.</p>\n", text(line))).collect();
    if view.opened.is_empty() {
        return told;
    }
    let opened = table(&view.head(names), view.opened.iter().map(|event| row(event, names)));
    format!("{told}<h2>Sealed before, open now</h2>\n{opened}")
}

fn row(event: &EventView, names: bool) -> String {
    let class = match (event.is_change(), event.is_list(), event.permitted) {
        (true, _, _) => "said",
        (false, true, _) => "listed",
        (false, false, true) => "permitted",
        (false, false, false) => "denied",
    };
    format!("<tr class=\"{class}\">{}</tr>\n", cells(&event.cells(names)))
}

fn proof(view: &LogView) -> String {
    format!(
        "<h2>What is proven</h2>\n<p>{} in all; this page begins with number {}. The program that wrote it \
         has checked that none is missing, changed or swapped, against block {} of the ledger <code>{}</code>. A page \
         can be changed after that: {}.</p>\n\
         <p>To keep for the next time: <code>{}</code></p>\n{}",
        counted(view.count, "entry", "entries"),
        view.from,
        view.at_height,
        text(&view.ledger),
        doubts(view),
        text(&view.keep),
        code(view)
    )
}

/// What to do for whoever doubts the page.
fn doubts(view: &LogView) -> String {
    let name = view.proof_file.as_deref().and_then(Path::file_name);
    match name.map(|name| text(&escaped(&name.to_string_lossy()))) {
        None => "whoever doubts it asks for the list again, with what is to be kept".to_owned(),
        Some(name) => format!(
            "the file <code>{name}</code> that was written with it cannot, and <code>consilium access verify \
             {name}</code> shows the same list, without a network"
        ),
    }
}

/// What a phone can read off the page, to hold it against another proof of the log.
fn code(view: &LogView) -> String {
    let content = format!("CONSILIUM-LOG:1:{}:{}:{}:{}", view.ledger, view.count, view.root, view.at_height);
    let Some(image) = qr::svg(&content.to_uppercase()) else { return String::new() };
    format!(
        "<figure>{image}<figcaption>The ledger, the number of entries, their root and the block, to compare \
         with another list of this patient: <code>{}</code></figcaption></figure>\n",
        text(&content)
    )
}

/// `ASKED TO` as `Asked to`.
fn sentence(head: &str) -> String {
    let (word, zone) = head.find(" (").map_or((head, ""), |at| head.split_at(at));
    let lower = word.chars().skip(1).map(|c| c.to_ascii_lowercase());
    word.chars().take(1).chain(lower).chain(zone.chars()).collect()
}

/// Text in HTML: what would end or begin markup, an attribute or an entity, is none of these.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escaped(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
