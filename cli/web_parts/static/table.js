// What Datasette's table.js expects to find.
var DATASETTE_ALLOW_FACET = true;
