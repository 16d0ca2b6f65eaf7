"""Files of predictions, in the field's formats, read and written."""
