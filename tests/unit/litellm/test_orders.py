"""What LiteLLM does by `order` is done by models that fall back to the next; weights and strategies stay."""

import pytest
import yaml

from app.commands.litellm.conversion import convert
from app.commands.sources import Sources
from providers.registry import Registry

REGISTRY = Registry()


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a tree: the models of the written file as a tree, and the report."""

    def convert_tree(tree):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        done = convert(tmp_path / "config.yaml", catalog=REGISTRY.catalog, environ={})
        settings = Sources(path=None, environ={"OPENAI_API_KEY": "x" * 40}, registry=REGISTRY).read(done.text.encode())
        assert settings.models
        return yaml.safe_load(done.text)["models"], done.report

    return convert_tree


def deployment(model, *, name="chat", **params):
    return {"model_name": name, "litellm_params": {"model": f"openai/{model}", **params}}


def targets(model):
    return [(target["model"], target.get("weight", 1)) for target in model["targets"]]


THREE = [
    deployment("a", order=1, weight=3),
    deployment("b", order=1, weight=1),
    deployment("c", order=2),
]


def test_equal_orders_share_by_weight_and_the_later_one_is_a_fallback(imported):
    models, report = imported({"model_list": THREE})
    assert targets(models["chat"]) == [("a", 3), ("b", 1)]
    assert targets(models["chat-order-2"]) == [("c", 1)]
    assert models["chat"]["fallbacks"] == {"any": ["chat-order-2"]}
    assert [model.get("balance") for model in models.values()] == [None, None]
    assert report.lost == ()
    assert [finding.path for finding in report.changed if "chat-order-2" in finding.reason] == [
        "model_list[2].litellm_params.order"
    ]


def test_equal_orders_share_by_the_strategy(imported):
    settings = {"routing_strategy": "latency-based-routing"}
    models, report = imported({"model_list": THREE, "router_settings": settings})
    assert models["chat"]["balance"] == "latency"
    assert "balance" not in models["chat-order-2"]
    assert report.lost == ()


def test_there_are_as_many_models_as_orders_that_are_shared_and_one_for_the_rest(imported):
    last = [deployment(each) for each in ("g", "h")]
    shared = [deployment(each, order=order) for order in (5, 2) for each in (f"d{order}", f"e{order}")]
    models, _ = imported({"model_list": [*last, *shared, deployment("f", order=9)]})
    assert {name: targets(model) for name, model in models.items()} == {
        "chat": [("d2", 1), ("e2", 1)],
        "chat-order-5": [("d5", 1), ("e5", 1)],
        "chat-order-9": [("f", 1)],
        "chat-order-last": [("g", 1), ("h", 1)],
    }
    assert [model.get("fallbacks") for model in models.values()] == [
        {"any": ["chat-order-5"]},
        {"any": ["chat-order-9"]},
        {"any": ["chat-order-last"]},
        None,
    ]
    models, _ = imported({"model_list": [*shared, deployment("f", order=9), deployment("g")]})
    assert targets(models["chat-order-9"]) == [("f", 1), ("g", 1)]
    assert models["chat-order-9"]["balance"] == "priority"


def test_orders_of_one_target_each_are_the_order_of_one_model(imported):
    models, report = imported({"model_list": [deployment("b", order=2), deployment("a", order=1), deployment("c")]})
    assert targets(models["chat"]) == [("a", 1), ("b", 1), ("c", 1)]
    assert models["chat"]["balance"] == "priority"
    assert (list(models), report.lost) == (["chat"], ())


@pytest.mark.parametrize(("written", "carried"), [({}, 4), ({"num_retries": 0}, 4), ({"num_retries": 9}, 9)])
def test_each_order_has_its_turn_however_few_the_retries(imported, written, carried):
    five = [deployment(each, order=number) for number, each in enumerate("abcde")]
    models, report = imported({"model_list": five, "router_settings": written})
    assert models["chat"]["retries"] == carried
    assert any("each `order` has its turn" in finding.reason for finding in report.changed) == (carried == 4)


def test_one_order_for_all_is_none(imported):
    models, _ = imported({"model_list": [deployment("a", order=3, rpm=10), deployment("b", order=3, rpm=20)]})
    assert targets(models["chat"]) == [("a", 1), ("b", 2)]
    assert "balance" not in models["chat"]


def test_fallbacks_come_after_the_later_orders_and_context_windows_before(imported):
    others = [deployment(each, name=each) for each in ("other", "big", "rest")]
    settings = {"fallbacks": [{"chat": ["other"]}], "context_window_fallbacks": [{"chat": ["big"]}]}
    models, report = imported({"model_list": [*THREE, *others], "router_settings": settings})
    assert models["chat"]["fallbacks"] == {"any": ["chat-order-2", "other"], "context_length": ["big"]}
    assert models["chat-order-2"]["fallbacks"] == {"context_length": ["big"]}
    assert report.lost == ()


def test_default_fallbacks_are_for_names_that_clients_know_and_all_of_them_are_carried_over(imported):
    others = [deployment(each, name=each) for each in ("mine", "one", "two")]
    settings = {"default_fallbacks": ["one", "two"], "fallbacks": [{"mine": ["chat"]}]}
    models, _ = imported({"model_list": [*THREE, *others], "litellm_settings": settings})
    fallbacks = {name: model.get("fallbacks") for name, model in models.items()}
    assert fallbacks == {
        "chat": {"any": ["chat-order-2", "one", "two"]},
        "chat-order-2": None,
        "mine": {"any": ["chat"]},
        "one": None,
        "two": {"any": ["one"]},
    }


def test_a_name_that_is_taken_is_left_alone_and_an_alias_has_the_whole_chain(imported):
    tree = {
        "model_list": [*THREE, deployment("z", name="chat-order-2")],
        "router_settings": {"model_group_alias": {"old": "chat"}},
    }
    models, _ = imported(tree)
    assert targets(models["chat-order-2"]) == [("z", 1)]
    assert targets(models["chat-order-2-2"]) == [("c", 1)]
    assert models["chat"]["fallbacks"] == models["old"]["fallbacks"] == {"any": ["chat-order-2-2"]}
