"""Everything put together: configuration, engine, tokenizer, application and uvicorn."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import uvicorn

from app.api.app import create_app
from app.api.server import Server
from app.api.service import Limits
from app.config import Config
from app.engine.client import EngineClient
from app.metrics import Metrics
from app.text.tokenizer import Tokenizer


def run_server(config: Config) -> str | None:
    """Serve until a signal comes. Returns the reason if the engine could not serve the model."""
    failures: list[str] = []
    metrics = Metrics()

    def give_up(reason: str) -> None:
        failures.append(reason)
        server.should_exit = True

    engine = EngineClient(config, metrics, give_up)
    template = config.chat_template.read_text() if config.chat_template else None
    app = create_app(
        engine=engine,
        load_tokenizer=partial(Tokenizer.load, config.model_path, revision=config.revision, chat_template=template),
        served_model_name=config.model_name,
        version=version("millrace"),
        metrics=metrics,
        limits=Limits(),
        drain_seconds=config.drain_seconds,
    )
    server = Server(
        uvicorn.Config(app, host=config.host, port=config.port, log_level=config.log_level, access_log=False),
        partial(engine.drain, config.drain_seconds),
    )
    server.run()
    return failures[0] if failures else None
