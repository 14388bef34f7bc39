use proofmill_contract::limits::{DEFAULT_PAGE, MAX_PAGE};

/// Which part of a list is asked for. Lists are newest first and stable under inserts.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// At most this many items; clamped to 1..=[`MAX_PAGE`].
    pub limit: u32,
    /// The last id of the previous page, as the caller sent it.
    pub starting_after: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_PAGE, starting_after: None }
    }
}

impl PageRequest {
    /// The limit within its bounds.
    pub(crate) fn clamped(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE) as usize
    }
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Whether older items follow.
    pub has_more: bool,
    /// What to send as `starting_after` for the next page; `None` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Builds a page from up to `limit + 1` items: the extra one only tells that more follow.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> &str) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if has_more { items.last().map(|item| id(item).to_owned()) } else { None };
        Self { items, has_more, next_cursor }
    }
}
