"""Networks that tell how an object lies, and how their outputs become poses."""
