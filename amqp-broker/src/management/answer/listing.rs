//! Lists of entities: sorted, filtered by name, in pages, and with some columns only.

use std::cmp::Ordering;

use axum::response::Response;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::{
    api_error::{ApiError, json_of},
    query::Query,
};

/// The most memory that a client's regular expression may take, in bytes.
const MOST_REGEX: usize = 1 << 20;

/// The entities of a page by default.
const DEFAULT_PAGE_SIZE: usize = 100;

/// Answers with a list as the query wants it.
///
/// # Errors
/// When the query's page or regular expression is wrong.
pub(crate) fn list(items: Vec<Value>, query: &Query, most: usize) -> Result<Response, ApiError> {
    let name = |item: &Value| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    list_of(items, query, most, name, |item| item)
}

/// Answers with a list of entities that are in the order of their names, as the query wants it.
/// Where it wants a page in this order, no other entities are shown.
///
/// # Errors
/// As [`list`].
pub(crate) fn list_of<T>(
    mut entities: Vec<T>,
    query: &Query,
    most: usize,
    name: impl Fn(&T) -> String,
    show: impl Fn(T) -> Value,
) -> Result<Response, ApiError> {
    let total = entities.len();
    let page = page_of(query, most)?;
    if page.is_some()
        && let Some(wanted) = wanted_name(query)?
    {
        entities.retain(|entity| wanted.is_match(&name(entity)));
    }
    let filtered_count = entities.len();
    let mut items = None;
    if let Some(column) = query.get("sort").filter(|column| !column.is_empty()) {
        let mut shown: Vec<Value> = entities.drain(..).map(&show).collect();
        shown.sort_by(|a, b| compare(at(a, column), at(b, column)));
        if query.is("sort_reverse") {
            shown.reverse();
        }
        items = Some(shown);
    }
    let Some((page, size)) = page else {
        let items = items.unwrap_or_else(|| entities.into_iter().map(show).collect());
        return Ok(json_of(&Value::Array(with_columns(items, query))));
    };
    let page_count = filtered_count.div_ceil(size);
    if page > page_count.max(1) {
        let why = format!("Page out of range, page: {page} page size: {size}, len: {filtered_count}");
        return Err(ApiError::Named("page_out_of_range", why));
    }
    let first = (page - 1).saturating_mul(size);
    let items: Vec<Value> = match items {
        Some(items) => items.into_iter().skip(first).take(size).collect(),
        None => entities.into_iter().skip(first).take(size).map(show).collect(),
    };
    let items = with_columns(items, query);
    Ok(json_of(&json!({
        "filtered_count": filtered_count,
        "item_count": items.len(),
        "items": items,
        "page": page,
        "page_count": page_count,
        "page_size": size,
        "total_count": total,
    })))
}

/// Answers with one entity, with the columns that the query wants.
pub(crate) fn one(item: Value, query: &Query) -> Response {
    json_of(&with_columns(vec![item], query).pop().unwrap_or_default())
}

/// The page and its size, if the query wants pages.
fn page_of(query: &Query, most: usize) -> Result<Option<(usize, usize)>, ApiError> {
    let Some(page) = query.get("page") else { return Ok(None) };
    let number = |text: &str| text.parse::<i64>();
    let size = query.get("page_size");
    let invalid = || ApiError::bad("Pagination parameters are invalid");
    let (number, size_given) =
        (number(page).map_err(|_| invalid())?, size.map(number).transpose().map_err(|_| invalid())?);
    let in_range = |size: i64| usize::try_from(size).ok().filter(|size| (1..=most).contains(size));
    let page = usize::try_from(number).ok().filter(|page| *page > 0);
    let size = size_given.map_or(Some(DEFAULT_PAGE_SIZE.min(most)), in_range);
    let (Some(page), Some(size)) = (page, size) else {
        let shown = size_given.map_or("undefined".to_owned(), |size| size.to_string());
        let why = format!("Invalid pagination parameters: page number {number}, page size {shown}");
        return Err(ApiError::Named("invalid_pagination_parameters", why));
    };
    Ok(Some((page, size)))
}

/// Matches the names that the query wants, if it wants some only: those that contain a text,
/// or match a regular expression.
fn wanted_name(query: &Query) -> Result<Option<Regex>, ApiError> {
    let Some(name) = query.get("name").filter(|name| !name.is_empty()) else { return Ok(None) };
    let is_regex = query.is("use_regex");
    let pattern = if is_regex { name.to_owned() } else { regex::escape(name) };
    let regex = RegexBuilder::new(&pattern).case_insensitive(!is_regex).size_limit(MOST_REGEX).build();
    regex.map(Some).map_err(|_| ApiError::bad("Pagination parameters are invalid"))
}

/// The value at a path of keys, such as `messages_details.rate`.
fn at<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(item, |value, key| value.get(key))
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// The order of values of different types, as Erlang has it.
fn rank(value: Option<&Value>) -> u8 {
    match value {
        Some(Value::Number(_)) => 0,
        None | Some(Value::Null) => 1,
        Some(Value::Bool(false)) => 2,
        Some(Value::Bool(true)) => 3,
        Some(Value::Object(_)) => 4,
        Some(Value::Array(_)) => 5,
        Some(Value::String(_)) => 6,
    }
}

/// Keeps the wanted columns only, if the query names some.
fn with_columns(items: Vec<Value>, query: &Query) -> Vec<Value> {
    let Some(columns) = query.get("columns").filter(|columns| !columns.is_empty()) else { return items };
    let columns: Vec<&str> = columns.split(',').collect();
    items.iter().map(|item| narrowed(item, &columns)).collect()
}

fn narrowed(item: &Value, columns: &[&str]) -> Value {
    let mut kept = Map::new();
    for column in columns {
        let Some(value) = at(item, column) else { continue };
        let mut inner = &mut kept;
        let mut keys = column.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                inner.insert(key.to_owned(), value.clone());
                break;
            }
            let next = inner.entry(key).or_insert_with(|| Value::Object(Map::new()));
            let Some(next) = next.as_object_mut() else { break };
            inner = next;
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Value> {
        ["b", "a", "c"]
            .iter()
            .zip(0..)
            .map(|(name, n)| json!({"name": name, "n": n, "d": {"rate": n}}))
            .collect()
    }

    async fn body(query: &str) -> Value {
        let response = list(items(), &Query::parse(query), 500).unwrap();
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_list_is_sorted_narrowed_and_cut_into_pages() {
        assert_eq!(
            body("sort=name&columns=name").await,
            json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])
        );
        assert_eq!(
            body("sort=d.rate&sort_reverse=true&columns=d.rate,x").await[0],
            json!({"d": {"rate": 2}})
        );
        let page = body("page=2&page_size=2&sort=name&columns=name").await;
        assert_eq!((page["items"].clone(), page["page_count"].clone()), (json!([{"name": "c"}]), json!(2)));
        let page = body("page=1&name=%5B%5Eab%5D&use_regex=true").await;
        assert_eq!((page["filtered_count"].clone(), page["total_count"].clone()), (json!(1), json!(3)));
        assert_eq!(body("page=1&name=B").await["filtered_count"], json!(1));
    }

    #[test]
    fn wrong_pages_are_refused() {
        for query in [
            "page=0",
            "page=x",
            "page=1&page_size=501",
            "page=1&page_size=0",
            "page=9",
            "page=1&name=(&use_regex=true",
        ] {
            assert!(list(items(), &Query::parse(query), 500).is_err(), "{query}");
        }
    }
}
