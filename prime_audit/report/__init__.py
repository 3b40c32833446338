"""From a record to tables, figures and the page."""
