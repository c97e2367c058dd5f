"""Sections: the parts of a page, in words."""
