//! XML as it comes from strangers: without DTDs, entities of their own or depths that no author writes.

use std::collections::HashMap;

use roxmltree::{Document, Node, NodeId, ParsingOptions};

/// Most nodes of a file, and how deep they may be.
const MOST_NODES: u32 = 100_000;
const DEEPEST: usize = 100;

/// Reads a document.
///
/// # Errors
/// When it is none, or may not be read, as a sentence.
pub(super) fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    let document =
        Document::parse_with_options(text, options).map_err(|error| error.to_string())?;
    if is_too_deep(&document) {
        return Err("its elements are nested too deeply".to_owned());
    }
    Ok(document)
}

/// The parser does not mind depth, but what reads its tree goes as deep as the tree does.
fn is_too_deep(document: &Document<'_>) -> bool {
    // In document order, so that a parent's depth is known before its children's.
    let mut depths: HashMap<NodeId, usize> = HashMap::new();
    document.root().descendants().any(|node| {
        let depth = node
            .parent()
            .and_then(|parent| depths.get(&parent.id()))
            .map_or(0, |depth| depth + 1);
        depths.insert(node.id(), depth);
        depth > DEEPEST
    })
}

/// The line on which an element begins.
pub(super) fn line(node: Node<'_, '_>) -> u64 {
    u64::from(node.document().text_pos_at(node.range().start).row)
}

/// The elements of a name right below another one.
pub(super) fn children<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The first element of a name below another one.
pub(super) fn find<'a, 'input: 'a>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.descendants()
        .find(|child| child.is_element() && child.tag_name().name() == name)
}

/// The text of an element without what is in it, trimmed.
pub(super) fn text(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().trim().to_owned()
}
