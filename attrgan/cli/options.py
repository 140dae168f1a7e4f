"""Arguments and options that several commands share, each with its help."""

from typing import Annotated

import typer

CatalogArgument = Annotated[
    str, typer.Argument(metavar="CATALOG", help="Parquet, CSV or JSON Lines; file, folder or URL.")
]
SchemaOption = Annotated[str, typer.Option("--schema", "-s", help="The schema, a YAML file.")]
OutOption = Annotated[str, typer.Option("--out", "-o", help="Folder (or URL) to write to.")]
OptionalOut = Annotated[str | None, typer.Option("--out", "-o", help="Folder (or URL) for the manifest.")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Model folder or URI (models:/attrgan-product@champion).")
]
FeaturesOption = Annotated[str | None, typer.Option(help="Feature cache; without it features are computed anew.")]
RunOption = Annotated[str | None, typer.Option(help="Id of the run; a finished step of the same run is not repeated.")]
EntityOption = Annotated[
    str | None, typer.Option(help="What a row is; default: the entity of the schema in the settings.")
]
WarehouseOption = Annotated[str, typer.Option(help="URL of the Delta tables.")]
OptionalSchema = Annotated[
    str | None, typer.Option("--schema", "-s", help="Default: the schema that the warehouse was published with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
