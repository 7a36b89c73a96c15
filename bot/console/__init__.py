"""The officers' and the station's pages: one table of routes, views, templates."""
