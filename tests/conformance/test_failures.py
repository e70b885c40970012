"""The conformance suite on a tiny random model, and the proof that its checks can fail: each is shown its failure."""

from __future__ import annotations

import copy
import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from cascade_rl.doctor import checks as conformance
from cascade_rl.doctor import model_checks, reward_checks
from cascade_rl.doctor.checks import MODEL_CHECKS, TRAINING_CHECKS
from cascade_rl.doctor.subject import CheckResult, Subject, make_tiny
from cascade_rl.model import head
from cascade_rl.model.checkpoint import load_directory, save_directory
from cascade_rl.model.decoder import DecoderConfig, hidden_states, views
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import SamplingRule
from cascade_rl.rollout import decoding, prefill, torch_sampler
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train import gather, gradients, update
from cascade_rl.train.advantage import final_rewards
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Stop, Verdict


@pytest.fixture
def subject(tmp_path):
    with Subject.opened(make_tiny(tmp_path / "model")) as found:
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        yield found


def name(check) -> str:
    return check.__name__.removeprefix("check_")


def run(check, subject):
    return check(subject) if check in MODEL_CHECKS else check()


@pytest.mark.parametrize("check", [*MODEL_CHECKS, *TRAINING_CHECKS], ids=name)
def test_no(check, subject):
    found = run(check, subject)
    assert found.passed, found.detail


@pytest.mark.parametrize("check", [*MODEL_CHECKS, *TRAINING_CHECKS], ids=name)
def test_every_check_names_a_public_report_of_its_failure(check):
    assert re.search(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", check.__doc__)


def test_the_report_has_a_row_for_each(tmp_path, monkeypatch):
    def check_one(subject):
        """Fails."""
        return CheckResult(False, str(subject.world.config.vocab))

    monkeypatch.setattr(conformance, "MODEL_CHECKS", (check_one, *MODEL_CHECKS[-2:]))
    monkeypatch.setattr(conformance, "TRAINING_CHECKS", TRAINING_CHECKS[:2])
    rows = list(conformance.model_report(make_tiny(tmp_path / "model", seed=1)))
    assert [row.passed for row in rows] == [False, True, True, True, True]
    assert rows[0] == conformance.Row("one", False, "300")


def test_a_sound_model_that_is_nearly_even_has_none(tmp_path):
    """As a new model is: its logits differ so little that min-p leaves nothing out and no temperature shows."""
    folder = make_tiny(tmp_path / "model")
    raw, config, flat = load_directory(folder)
    views(flat, config.shapes())["norm"].mul_(0.01)
    save_directory(folder, raw, config, flat)
    with Subject.opened(folder) as subject:
        torch.set_num_threads(1)
        found = {name(check): check(subject) for check in MODEL_CHECKS}
        assert torch.equal(subject.model.flat, flat), "a check left the weights changed"
    assert not {check: row.detail for check, row in found.items() if not row.passed}


# ---------------------------------------------------------------- every failure, made on purpose


states = DecoderConfig.scored  # before anything is patched


def weights_of_the_micro_batch(patch, subject):
    def wrong(rows, device):
        batch = pack_rows(rows, device)
        return replace(batch, weight=batch.weight / batch.weight.sum())

    patch.setattr(gradients, "pack_rows", wrong)


def one_token_off(patch, subject):
    patch.setattr(DecoderConfig, "scored", lambda *a: states(*a).roll(1, 0))


def no_temperature(patch, subject):
    right = DecoderConfig.logprobs
    patch.setattr(
        DecoderConfig,
        "logprobs",
        lambda self, w, h, ids, rule: right(self, w, h, ids, replace(rule, temperature=1.0)),
    )


def no_truncation(patch, subject):
    patch.setattr(
        head,
        "truncate",
        lambda logits, rule, keep: truncate(logits, SamplingRule(rule.temperature), keep),
    )


def coarse_trainer(patch, subject):
    patch.setattr(DecoderConfig, "scored", lambda *a: states(*a) * 1.05)


def sees_its_neighbours(patch, subject):
    def wrong(*a):
        hidden = states(*a)
        return hidden + 0.1 * hidden.mean(0)

    patch.setattr(DecoderConfig, "scored", wrong)


def scores_the_prompts_end(patch, subject):
    def wrong(rows, device):
        moved = [r if len(r.ids) > r.start else Row.of(r.ids[:-1], r.ids[-1:], r.weight, 5.0) for r in rows]
        return pack_rows(moved, device)

    patch.setattr(gradients, "pack_rows", wrong)
    patch.setattr(model_checks, "pack_rows", wrong)


def keeps_prefixes(patch, subject):
    known, samplers, sample = {}, [], TorchSampler.sample

    def remembers(self, problems, sampling):
        samplers.append(id(self))
        return sample(self, problems, sampling)

    def stale(weights, config, prompts, device):
        key = (samplers[-1], str(prompts))
        known.setdefault(key, fresh(weights, config, prompts, device))
        return copy.deepcopy(known[key])

    fresh = prefill.prefill
    patch.setattr(TorchSampler, "sample", remembers)
    patch.setattr(prefill, "prefill", stale)


def never_synchronised(patch, subject):
    old = {key: value.detach().clone() for key, value in subject.model.weights.items()}
    for module in (prefill, decoding):
        patch.setattr(module, "hidden_states", lambda weights, *rest: hidden_states(old, *rest))


def exports_something_else(patch, subject):
    export = model_checks.export
    patch.setattr(
        model_checks,
        "export",
        lambda path, raw, config, flat, tok: export(path, raw, config, flat * 1.05, tok),
    )


def constant_loss(patch, subject):
    patch.setattr(gradients, "policy_loss", lambda s, lp, *rest: (0 * lp.sum(), torch.zeros(len(lp))))


def trains_on_text(patch, subject):
    class Retokenised:
        @staticmethod
        def of(prompt, ids, *rest):
            return Row.of(prompt, subject.tokenizer.encode(subject.tokenizer.decode(ids)), *rest[:2])

    patch.setattr(update, "Row", Retokenised)


def no_end_mark(patch, subject):
    patch.setattr(Tokenizer, "reply", lambda self, text: self.encode(text))


def another_end_token(patch, subject):
    file = subject.folder / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": [subject.tokenizer.end_id, 7]}))


def two_bos(patch, subject):
    subject.tokenizer.inner.bos_token = "<|endoftext|>"
    prompt, bos = Tokenizer.prompt, subject.tokenizer.inner.bos_token_id
    patch.setattr(Tokenizer, "prompt", lambda self, problem: [bos, bos, *prompt(self, problem)])


def another_header(patch, subject):
    prompt = Tokenizer.prompt
    patch.setattr(Tokenizer, "prompt", lambda self, problem: [*prompt(self, problem), 9])


def end_mark_dropped(patch, subject):
    def rollout(tok, prompt, ids, logprobs):
        found = plain(tok, prompt, ids, logprobs)
        return replace(found, ids=(*found.ids[:-1], 5)) if found.stop is Stop.END else found

    plain = torch_sampler.rollout_of
    patch.setattr(torch_sampler, "rollout_of", rollout)


def counts_tokens(patch, subject):
    patch.setattr(reward_checks, "token_weights", lambda lengths, *_: [1 / sum(lengths)] * len(lengths))


def plain_z_scores(patch, subject):
    def advantage(rewards, *_):
        r = np.asarray(rewards)
        return ((r - r.mean()) / (r.std() + 1e-6)).tolist()

    patch.setattr(reward_checks, "group_advantage", advantage)


def missing_is_zero(patch, subject):
    plain = reward_checks.group_advantage
    patch.setattr(
        reward_checks, "group_advantage", lambda rewards, *rest: plain([r or 0.0 for r in rewards], *rest)
    )


def masked_is_zero(patch, subject):
    patch.setattr(
        reward_checks, "final_rewards", lambda groups, rule, *rest: final_rewards(groups, "zero", *rest)
    )


def needs_the_main_thread(patch, subject):
    plain = reward_checks.load_domain

    def load(wanted):
        domain = plain(wanted)

        async def score(problem, rollout, services):
            if threading.current_thread() is not threading.main_thread():
                return Verdict.binary(False)
            return await domain.benchmark_grade(problem, rollout, services)

        return replace(domain, score=score)

    patch.setattr(reward_checks, "load_domain", load)


def dead_groups_pass(patch, subject):
    patch.setattr(gather, "has_signal", lambda row: True)


def forgets_the_pool(patch, subject):
    patch.setattr(PromptPool, "restore", lambda self, state: None)


FAILURES = {
    "gradient_depends_on_the_split": weights_of_the_micro_batch,
    "accumulated_loss_is_not_the_mean_over_tokens": weights_of_the_micro_batch,
    "scored_one_token_off": one_token_off,
    "temperature_missing_in_the_trainer": no_temperature,
    "truncated_sampling_not_renormalised": no_truncation,
    "on_policy_ratio_is_not_one": coarse_trainer,
    "padding_changes_log_probabilities": sees_its_neighbours,
    "empty_reply_writes_before_its_start": scores_the_prompts_end,
    "cache_survives_an_update": keeps_prefixes,
    "sampler_keeps_old_weights": never_synchronised,
    "tied_head_lost_in_export": exports_something_else,
    "zero_loss_taken_for_no_gradient": constant_loss,
    "retokenised_text_is_trained": trains_on_text,
    "end_of_turn_is_not_trained": no_end_mark,
    "second_end_token_counts_as_truncated": another_end_token,
    "wrong_number_of_bos_tokens": two_bos,
    "template_renders_other_ids": another_header,
    "end_mark_hidden_from_the_rollout": end_mark_dropped,
    "constant_normaliser_depends_on_the_batch": counts_tokens,
    "group_without_spread_is_not_zero": plain_z_scores,
    "missing_reward_poisons_its_group": missing_is_zero,
    "masked_sample_moves_the_baseline": masked_is_zero,
    "verifier_fails_off_the_main_thread": needs_the_main_thread,
    "filter_never_ends": dead_groups_pass,
    "resumed_run_differs": forgets_the_pool,
}


def test_every_check_is_shown_its_failure():
    assert set(FAILURES) == {name(check) for check in (*MODEL_CHECKS, *TRAINING_CHECKS)}


@pytest.mark.parametrize("check", [*MODEL_CHECKS, *TRAINING_CHECKS], ids=name)
def test_the_check_catches(check, subject, monkeypatch):
    FAILURES[name(check)](monkeypatch, subject)
    found = run(check, subject)
    assert not found.passed, found.detail
