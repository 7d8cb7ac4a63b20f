//! What a plug-in links: is this product licensed on this machine?.
