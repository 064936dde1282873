"""The fit of ml.learn as Spark jobs over an export's Parquet, for more events than one machine holds.

    python -m ml distributed EXPORT OUTPUT [--master MASTER]

Three stages grow with the events and run on Spark: co-occurrences by a self-join of each basket and household, each
product's candidates by a window's rank, and the ridge in blocks of products, where ``ridge.fit`` itself solves what
belongs to a block. Their results grow with the catalogue alone; the driver packs them into the artefact that
``python -m ml train`` writes. ``ml.learn`` is the reference: the tests hold the weights of both equal, to rounding.

Needs the requirements set ``spark`` and Java 17; nothing else of Aisle does. On a cluster every executor needs the
package ``ml`` and OUTPUT lies on the driver.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from scipy import sparse

from ml import artefact, data, ridge
from ml.contract import EVENTS_PREFIX
from ml.cooccurrence import Matrix, Neighbours, powers
from ml.errors import MlError
from ml.learn import NEIGHBOURS, POPULAR_DAYS, Assembler, Fitted, Hyperparameters, Sales
from ml.model import Model
from ml.slates import TASTE
from ml.train import new_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Frame: TypeAlias = Any  # a pandas.DataFrame; pandas is needed here alone and brings no types

BLOCK = 256  # products solved together: their candidates overlap, so few columns travel twice
MICROSECONDS_A_DAY = 86_400_000_000
STAGES = 6


class DistributedError(MlError):
    """A fit on Spark that cannot start."""


@contextmanager
def session(master: str | None) -> "Iterator[SparkSession]":
    """A Spark session whose executors can import ``ml``. Raises DistributedError where there is no PySpark or Java."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if master and master.startswith("local"):  # its workers are this machine's: this Python, not the first on PATH
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise DistributedError("PySpark is not installed; install requirements/spark.txt") from None
    builder = (
        SparkSession.builder.appName("aisle")
        .config("spark.executorEnv.PYTHONPATH", str(Path(__file__).parents[1]))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.sql.adaptive.enabled", "true")
    )
    if master:
        builder = builder.master(master)
    if master and master.startswith("local"):
        builder = builder.config("spark.sql.shuffle.partitions", "8").config("spark.driver.memory", "3g")
    try:
        spark = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise DistributedError(f"Spark did not start ({error}); it needs Java 17 on PATH or in JAVA_HOME") from None
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def learn(
    spark: "SparkSession", export: Path, settings: Hyperparameters, version: str, done: Callable[[str], None]
) -> Model:
    """``ml.learn.learn`` over the export's files. ``done`` is told each stage."""
    catalogue = data.read_catalogue(export)
    events, sales = _events(spark, export, catalogue.product_id)
    order = np.argsort(-sales.popularity, kind="stable")
    number = np.empty(len(order), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    catalogue = data.Catalogue(
        *([getattr(catalogue, column)[code] for code in order] for column in catalogue.__slots__)
    )
    events = _numbered(spark, events, number).cache()
    most = max(sales.popularity.max(), 1e-12)
    popularity = np.round(sales.popularity[order] / most, 6)
    sales = Sales(popularity, sales.sold[order], sales.purchases[order], sales.buyers[order])
    done("events read")

    baskets = fit(events, "basket", settings, len(order), settings.basket_penalty, NEIGHBOURS)
    done("baskets fitted")
    households = fit(events, "shopper", settings, len(order), settings.household_penalty, settings.candidates)
    done("households fitted")

    model = Assembler(catalogue, sales).model(households, baskets, settings, version)
    done("rows merged")
    return model


def fit(
    events: "DataFrame", column: str, settings: Hyperparameters, products: int, penalty: float, count: int
) -> Fitted:
    """Everything that is learnt of one way of holding products together: by ``basket`` or by ``shopper``."""
    held = _holding(events, column, settings.length_exponent).cache()
    itself = _diagonal(held, products)
    near = _strongest(held, itself, settings.damping, count).cache()
    rows = _ridge(held, near, settings.candidates, penalty, products)
    fitted = Fitted(rows, _neighbours(near, products, count), itself)
    held.unpersist()
    near.unpersist()
    return fitted


def _events(spark: "SparkSession", export: Path, product_ids: list[str]) -> "tuple[DataFrame, Sales]":
    """The events of known products with what each is worth, and every product's sales, popularity not yet scaled."""
    from pyspark.sql import functions as F

    codes = spark.createDataFrame(
        list(zip(product_ids, range(len(product_ids)), strict=True)), "product_id string, code int"
    )
    liking = F.create_map(*[F.lit(each) for kind, worth in TASTE.items() for each in (kind, max(worth, 0.0))])
    events = (
        spark.read.parquet(str(export / EVENTS_PREFIX))
        .join(F.broadcast(codes), "product_id")
        .select(
            "code",
            F.xxhash64("shopper").alias("shopper"),
            F.xxhash64("basket").alias("basket"),
            liking[F.col("kind")].alias("liking"),
            (F.col("kind") == "purchase").alias("purchase"),
            (F.unix_micros("time") / MICROSECONDS_A_DAY).alias("day"),
        )
    )
    last = events.agg(F.max("day")).first()
    worth = F.col("liking") * F.exp((F.col("day") - (last[0] if last else 0.0)) / POPULAR_DAYS)
    found = events.groupBy("code").agg(
        F.sum(worth).alias("popularity"),
        F.sum("liking").alias("sold"),
        F.count_if("purchase").alias("purchases"),
        F.count_distinct(F.when(F.col("purchase"), F.col("shopper"))).alias("buyers"),
    )
    table = found.toPandas()
    columns = {name: np.zeros(len(product_ids)) for name in Sales.__slots__}
    for name, column in columns.items():
        column[table["code"].to_numpy()] = table[name].to_numpy()
    return events, Sales(**columns)


def window(spark: "SparkSession", export: Path) -> tuple[str, str]:
    """The first and the last day of the events."""
    from pyspark.sql import functions as F

    ends = [F.date_format(end("time"), "yyyy-MM-dd'T'HH:mm:ss'+00:00'") for end in (F.min, F.max)]
    found = spark.read.parquet(str(export / EVENTS_PREFIX)).agg(*ends).first()
    return (found[0], found[1]) if found else ("", "")


def _numbered(spark: "SparkSession", events: "DataFrame", number: NDArray[np.int32]) -> "DataFrame":
    """Products by their place in the order of popularity, as ml.kernel counts on."""
    from pyspark.sql import functions as F

    renamed = spark.createDataFrame(list(enumerate(number.tolist())), "code int, product int")
    return events.join(F.broadcast(renamed), "code").drop("code")


def _holding(events: "DataFrame", column: str, exponent: float) -> "DataFrame":
    """(group, product, value), as cooccurrence.holding and length_damped make it, in the same single precision."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    worth = F.sum("liking")
    value = F.least(worth, F.lit(1.0)) if column == "basket" else F.sqrt(worth)
    held = (
        events.where("liking > 0")
        .groupBy(F.col(column).alias("group"), "product")
        .agg(value.cast("float").alias("value"))
        .withColumn("length", F.count("*").over(Window.partitionBy("group")))
    )

    def damped(frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            frame["value"] *= frame.pop("length").to_numpy(np.float32) ** (exponent / 2)
            yield frame

    return held.mapInPandas(damped, "group long, product int, value float")


def _diagonal(held: "DataFrame", products: int) -> NDArray[np.float64]:
    from pyspark.sql import functions as F

    squares = held.groupBy("product").agg(F.sum((F.col("value") * F.col("value")).cast("double")).alias("itself"))
    found = squares.toPandas()
    itself = np.zeros(products)
    itself[found["product"].to_numpy()] = found["itself"].to_numpy()
    return itself


def _strongest(held: "DataFrame", itself: NDArray[np.float64], damping: float, count: int) -> "DataFrame":
    """(product, partner, weight, place): each product's ``count`` partners, as cooccurrence.strongest ranks them."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    scale = held.sparkSession.createDataFrame(
        list(enumerate(powers(itself, -damping).tolist())), "partner int, scale double"
    )
    other = held.select("group", F.col("product").alias("partner"), F.col("value").alias("other"))
    pairs = (
        held.join(other, "group")
        .where("product <> partner")
        .groupBy("product", "partner")
        .agg(F.sum((F.col("value") * F.col("other")).cast("double")).alias("weight"))
    )
    best = Window.partitionBy("product").orderBy(F.col("score").desc(), "partner")
    return (
        pairs.join(F.broadcast(scale), "partner")
        .withColumn("score", F.col("weight") * F.col("scale"))
        .where("score > 0")
        .withColumn("place", F.row_number().over(best) - 1)
        .where(F.col("place") < count)
        .select("product", "partner", F.col("weight").cast("float").alias("weight"), "place")
    )


def _neighbours(near: "DataFrame", products: int, count: int) -> Neighbours:
    found = near.toPandas()
    product, place = found["product"].to_numpy(), found["place"].to_numpy()
    made = Neighbours(np.full((products, count), -1, dtype=np.int32), np.zeros((products, count), dtype=np.float32))
    made.product[product, place] = found["partner"].to_numpy()
    made.weight[product, place] = found["weight"].to_numpy()
    return made


def _ridge(held: "DataFrame", near: "DataFrame", candidates: int, penalty: float, products: int) -> Matrix:
    """ridge.fit, each block of products beside the columns of its candidates and nothing else."""
    from pyspark.sql import functions as F

    asked = near.where(F.col("place") < candidates).withColumn("block", F.floor(F.col("product") / BLOCK))
    columns = held.groupBy("product").agg(
        F.collect_list("group").alias("groups"), F.collect_list("value").alias("values")
    )
    reached = asked.select(F.col("block").alias("asker"), F.col("partner").alias("product")).distinct()
    needed = reached.join(columns, "product")

    def solved(asked: Frame, needed: Frame) -> Frame:
        return _solved_block(asked, needed, candidates, penalty)

    blocks = asked.groupBy("block").cogroup(needed.groupBy("asker"))
    found = blocks.applyInPandas(solved, "product int, target int, weight float").toPandas()
    entries = found["weight"].to_numpy(), (found["product"].to_numpy(), found["target"].to_numpy())
    return sparse.csr_matrix(entries, shape=(products, products))


def _solved_block(asked: Frame, needed: Frame, candidates: int, penalty: float) -> Frame:
    """The block's own small problem, its products and groups renumbered, to ridge.fit and back."""
    import pandas as pd

    codes = np.union1d(asked["product"].to_numpy(), needed["product"].to_numpy())
    lengths = needed["groups"].str.len().to_numpy()
    group = np.unique(np.concatenate(needed["groups"].to_list()), return_inverse=True)[1]
    column = np.repeat(np.searchsorted(codes, needed["product"].to_numpy()), lengths)
    value = np.concatenate(needed["values"].to_list()).astype(np.float32)
    held = sparse.csr_matrix((value, (group, column)), shape=(int(group.max()) + 1, len(codes)))
    near = Neighbours(
        np.full((len(codes), candidates), -1, dtype=np.int32), np.zeros((len(codes), candidates), dtype=np.float32)
    )
    place = np.searchsorted(codes, asked["product"].to_numpy()), asked["place"].to_numpy()
    near.product[place] = np.searchsorted(codes, asked["partner"].to_numpy())
    near.weight[place] = asked["weight"].to_numpy()
    rows = ridge.fit(held, near, penalty).tocoo()
    return pd.DataFrame({"product": codes[rows.row], "target": codes[rows.col], "weight": rows.data})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("export", type=Path, metavar="EXPORT", help="the export's folder, which every executor sees")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="gets model/ and model.tar.gz")
    parser.add_argument("--master", help="of the cluster, or local[2] (default: what spark-submit says)")
    parser.add_argument("--candidates", type=int, default=Hyperparameters().candidates, help="K of the local ridge")


def run(arguments: argparse.Namespace) -> int:
    settings = Hyperparameters(candidates=arguments.candidates)
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn())
    ended = [("", time.monotonic())]
    with Progress(*columns, console=Console(stderr=True)) as progress, session(arguments.master) as spark:
        bar = progress.add_task("starting Spark", total=STAGES)

        def done(stage: str) -> None:
            progress.update(bar, advance=1, description=stage)
            ended.append((stage, time.monotonic()))

        done("Spark started")
        model = learn(spark, arguments.export, settings, new_version(), done)
        artefact.save(model, arguments.output / "model", window(spark, arguments.export), {})
        artefact.pack(arguments.output / "model", arguments.output / "model.tar.gz")
        done("packed")
    for (_, before), (stage, after) in pairwise(ended):
        print(f"{stage:<20}{after - before:8.1f} s")
    print(f"model {model.version}: {len(model.rows.product):,} weights")
    return 0
