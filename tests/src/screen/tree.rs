//! What a screen reader knows of a window: the tree of its elements over AT-SPI, each with its name, role, states and place.

use std::collections::HashMap;

use serde_json::Value;

use super::picture::Rect;
use crate::dbus::{Arg, Bus, Call};

/// Roles by their numbers, as AT-SPI counts them.
const ROLES: &[&str] = &[
    "invalid",
    "accelerator label",
    "alert",
    "animation",
    "arrow",
    "calendar",
    "canvas",
    "check box",
    "check menu item",
    "color chooser",
    "column header",
    "combo box",
    "date editor",
    "desktop icon",
    "desktop frame",
    "dial",
    "dialog",
    "directory pane",
    "drawing area",
    "file chooser",
    "filler",
    "focus traversable",
    "font chooser",
    "frame",
    "glass pane",
    "html container",
    "icon",
    "image",
    "internal frame",
    "label",
    "layered pane",
    "list",
    "list item",
    "menu",
    "menu bar",
    "menu item",
    "option pane",
    "page tab",
    "page tab list",
    "panel",
    "password text",
    "popup menu",
    "progress bar",
    "button",
    "radio button",
    "radio menu item",
    "root pane",
    "row header",
    "scroll bar",
    "scroll pane",
    "separator",
    "slider",
    "spin button",
    "split pane",
    "status bar",
    "table",
    "table cell",
    "table column header",
    "table row header",
    "tearoff menu item",
    "terminal",
    "text",
    "toggle button",
    "tool bar",
    "tool tip",
    "tree",
    "tree table",
    "unknown",
    "viewport",
    "window",
    "extended",
    "header",
    "footer",
    "paragraph",
    "ruler",
    "application",
    "autocomplete",
    "editbar",
    "embedded",
    "entry",
    "chart",
    "caption",
    "document frame",
    "heading",
    "page",
    "section",
    "redundant object",
    "form",
    "link",
    "input method window",
    "table row",
    "tree item",
    "document spreadsheet",
    "document presentation",
    "document text",
    "document web",
    "document email",
    "comment",
    "list box",
    "grouping",
    "image map",
    "notification",
    "info bar",
    "level bar",
    "title bar",
    "block quote",
    "audio",
    "video",
    "definition",
    "article",
    "landmark",
    "log",
    "marquee",
    "math",
    "rating",
    "timer",
    "static",
];

/// A state by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "AT-SPI's own names")]
pub enum State {
    Checked = 4,
    Enabled = 8,
    Focusable = 11,
    Focused = 12,
    Pressed = 20,
    Selectable = 22,
    Selected = 23,
    Showing = 25,
}

/// An element.
#[derive(Clone, Debug)]
pub struct Node {
    /// The object's path, by which it is asked about.
    pub path: String,
    /// Where in the tree's list its parent is.
    pub parent: Option<usize>,
    /// How deep it stands.
    pub depth: usize,
    /// What a screen reader calls it.
    pub name: String,
    /// What it adds.
    pub description: String,
    /// What it is.
    pub role: &'static str,
    states: u64,
    /// Whether something can be done with it: for a button, whether it is enabled.
    pub actionable: bool,
    /// Whether it holds text that can be read.
    pub has_text: bool,
    /// Where it is, in pixels of the window.
    pub place: Rect,
}

impl Node {
    /// Whether it is in a state.
    #[must_use]
    pub fn is(&self, state: State) -> bool {
        self.states >> (state as u8) & 1 == 1
    }

    /// Its role and name, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} “{}”", self.role, self.name)
    }
}

/// The elements of a window, each after its parent.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All of them.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Asks a program for all its elements, without their places.
    #[must_use]
    pub fn read(bus: &mut Bus, program: &str) -> Self {
        let answer = bus.call(program, "/org/a11y/atspi/cache", "org.a11y.atspi.Cache.GetItems", &[]);
        let Ok(mut items) = answer else { return Self::default() };
        let items = items.remove(0);
        let items = items.as_array().unwrap();
        let path = |value: &Value| value[1].as_str().unwrap().to_owned();
        let mut children: HashMap<String, Vec<(i64, &Value)>> = HashMap::new();
        for item in items {
            children.entry(path(&item[2])).or_default().push((item[3].as_i64().unwrap(), item));
        }
        for group in children.values_mut() {
            group.sort_by_key(|(index, _)| *index);
        }
        let mut tree = Self::default();
        let Some((_, root)) = items.first().map(|item| (0, item)) else { return tree };
        tree.add(root, None, &children);
        tree
    }

    fn add(&mut self, item: &Value, parent: Option<usize>, children: &HashMap<String, Vec<(i64, &Value)>>) {
        let text = |at: usize| item[at].as_str().unwrap_or_default().to_owned();
        let interfaces: Vec<&str> = item[5].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let has = |name: &str| interfaces.contains(&format!("org.a11y.atspi.{name}").as_str());
        let words: Vec<u64> = item[9].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        let role = usize::try_from(item[7].as_u64().unwrap()).unwrap();
        let own = item[0][1].as_str().unwrap();
        let at = self.nodes.len();
        self.nodes.push(Node {
            path: own.to_owned(),
            parent,
            depth: parent.map_or(0, |parent| self.nodes[parent].depth + 1),
            name: text(6),
            description: text(8),
            role: ROLES.get(role).copied().unwrap_or("unheard of"),
            states: words.first().copied().unwrap_or(0) | words.get(1).copied().unwrap_or(0) << 32,
            actionable: has("Action"),
            has_text: has("Text"),
            place: Rect::default(),
        });
        for (_, child) in children.get(own).into_iter().flatten() {
            if child[0][1] != item[0][1] {
                self.add(child, Some(at), children);
            }
        }
    }

    /// Asks where the elements are.
    pub fn locate(&mut self, bus: &mut Bus, program: &str) {
        const IN_WINDOW: u32 = 1;
        let calls: Vec<Call<'_>> = self
            .nodes
            .iter()
            .map(|node| Call {
                to: program,
                path: &node.path,
                method: "org.a11y.atspi.Component.GetExtents",
                arguments: vec![Arg::Unsigned(IN_WINDOW)],
            })
            .collect();
        let places: Vec<Rect> = bus.all(&calls).into_iter().map(|answer| rect(answer.ok())).collect();
        for (node, place) in self.nodes.iter_mut().zip(places) {
            node.place = place;
        }
    }

    /// What stands in a text field.
    #[must_use]
    pub fn text(bus: &mut Bus, program: &str, node: &Node) -> String {
        let arguments = [Arg::Signed(0), Arg::Signed(-1)];
        let said = bus.call(program, &node.path, "org.a11y.atspi.Text.GetText", &arguments);
        said.ok().and_then(|mut said| said.remove(0).as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The elements of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.name == name)
    }

    /// The one with the focus.
    #[must_use]
    pub fn focused(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.is(State::Focused))
    }

    /// Whether something in it says this.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.nodes.iter().any(|node| node.name.contains(words) || node.description.contains(words))
    }

    /// All of it, a line an element, for messages and for people.
    #[must_use]
    pub fn outline(&self) -> String {
        let line = |node: &Node| {
            let state = |state, word: &'static str| if node.is(state) { word } else { "" };
            let more = [
                state(State::Focused, " focused"),
                state(State::Focusable, " focusable"),
                state(State::Checked, " checked"),
                state(State::Pressed, " pressed"),
                state(State::Selected, " selected"),
                if node.actionable { " actionable" } else { "" },
            ];
            format!("{}{}{}\n", "  ".repeat(node.depth), node.title(), more.concat())
        };
        self.nodes.iter().map(line).collect()
    }
}

fn rect(answer: Option<Vec<Value>>) -> Rect {
    let Some(answer) = answer else { return Rect::default() };
    let side = |at: usize| answer[0][at].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default();
    Rect { x: side(0), y: side(1), width: side(2), height: side(3) }
}
