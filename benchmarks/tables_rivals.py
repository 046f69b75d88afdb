"""Tables of train_rivals.py, update_costs.py, published_code.py, coin_rivals.py and look_aheads.py."""

from __future__ import annotations

from statistics import median
from typing import Any

import tables_training
from update_costs import PUBLISHED, REDUCED

from loqa.plotting.coin_wall_clock import PUBLISHED as WALL_CLOCK

_HOUR = 3600


def tables(results: dict[str, Any]) -> str:
    """What each learner's seeds ended in, and the league of what they learned."""
    return f"{tables_training.tables(results)}\n\n{league(results['league'])}"


def league(found: dict[str, Any]) -> str:
    """Mean reward a step of row against column."""
    names = list(dict.fromkeys(pair["first"] for pair in found["groups"]))
    names += [one["second"] for one in found["groups"] if one["second"] not in names]
    names = list(dict.fromkeys(names))
    cells: dict[tuple[str, str], str] = {}
    for pair in found["groups"]:
        for names_of, (mean, low, high) in zip(
            ((pair["first"], pair["second"]), (pair["second"], pair["first"])),
            pair["reward"],
            strict=True,
        ):
            cells.setdefault(names_of, f"{mean:.2f} ± {(high - low) / 2:.2f}")
    lines = [
        f"League of {found['agents']} agents, all pairs, both seats, {found['episodes']:,} episodes each: "
        "mean reward a step of the row against the column, with half of the 95% interval over pairs.",
        "",
        f"| | {' | '.join(names)} |",
        "|---|" + "---:|" * len(names),
    ]
    for row in names:
        lines.append(f"| {row} | " + " | ".join(cells.get((row, one), "") for one in names) + " |")
    return "\n".join(lines)


def costs(results: dict[str, Any]) -> str:
    """CPU seconds and memory of one update, a line for each algorithm, by what varies."""
    found = {name: one for name, one in results["updates"].items() if " published " not in name}
    names = list(dict.fromkeys(name.partition(", ")[0] for name in found))
    sizes = list(dict.fromkeys(name.partition(", ")[2] for name in found))
    lines = [f"| | {' | '.join(sizes)} |", "|---|" + "---:|" * len(sizes)]
    for name in names:
        cells = []
        for size in sizes:
            one = found.get(f"{name}, {size}")
            cells.append(
                "" if one is None else f"{one['seconds']:.3f} s, {one['mebibytes']:.0f} MiB"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "One update: CPU seconds, and how far the peak of the process rises. Where nothing else is said: "
        "3 x 3, 50 steps, two inner steps. POLA's is one of its outer steps. M-FOS's is of two (or as many "
        "as there are inner steps) of its 16 inner episodes, of 16 steps where no horizon is said.",
        "",
        lengths(results["updates"]),
    ]
    return "\n".join(lines)


def lengths(updates: dict[str, Any]) -> str:
    """What whole trainings on 3 x 3 would take one core, and how far three hours go."""
    whole: dict[str, tuple[float, int]] = {}
    for name, one in PUBLISHED.items():
        seconds, count = whole.get(one.title, (0.0, 0))
        cost = updates[f"{name}, published 3"]["seconds"] * one.parts
        whole[one.title] = (seconds + cost * one.updates, count + one.updates)
    for title, row, parts, count in REDUCED:
        whole[title] = (updates[row]["seconds"] * parts * count, count)
    lines = [
        "| training on 3 x 3 | CPU seconds an update | updates | whole, core-hours | updates in three "
        "core-hours | A100 seconds to weak, published |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for title, (seconds, count) in whole.items():
        known = [times[0] for (name, level), times in WALL_CLOCK.items()
                 if level == "weak" and title.startswith(name) and "published" not in title]  # fmt: skip
        reduced = title in {one[0] for one in REDUCED}
        lines.append(
            f"| {title} | {seconds / count:.1f} | {count:,} | {seconds / _HOUR:.1f} | "
            f"{min(count, 3 * _HOUR * count / seconds):.0f} | {known[0] if known and not reduced else ''} |"
        )
    return "\n".join(lines)


def look_aheads(results: dict[str, Any]) -> str:
    """LOLA-DiCE by look-aheads, beside what was published."""
    lines = [
        "| look-aheads | their rate | reward a step of both: mean (lowest to highest) | exact returns | "
        "published |",
        "|---:|---:|---|---:|---:|",
    ]
    for row in results["rows"]:
        rewards = row["rewards"]
        lines.append(
            f"| {row['look_aheads']} | {row['rate'] if row['look_aheads'] else ''} | "
            f"{sum(rewards) / len(rewards):.2f} ({min(rewards):.2f} to {max(rewards):.2f}) | "
            f"{row['exact']:.2f} | {row['published']:.2f} |"
        )
    lines += [
        "",
        f"Seeds {results['seeds']}, the last ten of 200 updates; exact returns: mean of a hundred runs; "
        "published: mean of five.",
    ]
    return "\n".join(lines)


def coin(results: dict[str, Any]) -> str:
    """Twenty updates of rivals on the Coin Game."""
    lines = []
    for title, run in results["runs"].items():
        updates = run["updates"]
        seconds = median(one["seconds"] for one in updates)
        finite = sum(one["finite"] for one in updates)
        with_kl = "kl" in updates[0]
        lines += [
            f"{title}, seed {run['seed']}: {seconds:.1f} CPU seconds an update (median); all parameters "
            f"finite after {finite} of {len(updates)} updates. {run['published']:,} updates, as many as "
            f"published, would take {seconds * run['published'] / _HOUR:.1f} core-hours at this size.",
            "",
            f"| update | reward a step, each player | loss | gradient's norm |{' KL |' if with_kl else ''}",
            "|---:|---|---:|---:|" + "---:|" * with_kl,
        ]
        for one in updates:
            rewards = ", ".join(f"{reward:+.3f}" for reward in one["reward"])
            kl = f" {one['kl']:.4f} |" if with_kl else ""
            lines.append(
                f"| {one['update']} | {rewards} | {one['loss']['agent']:.3f} | {one['grad_norm']:.3f} |{kl}"
            )
        lines += ["", _to_weak(run["weak"]), ""] if "weak" in run else [""]
    return "\n".join(lines[:-1])


def _to_weak(runs: list[dict[str, Any]]) -> str:
    """One sentence: when each seed met the threshold, and with what."""
    said = [
        f"seed {one['seed']} {'met' if one['met'] else 'not met'} after {one['updates']} updates, "
        f"{one['seconds']:.0f} CPU seconds (self-play {sum(one['self_play']) / 2:.3f}, always-defect "
        f"{one['vs_always_defect'][0]:.3f})"
        for one in runs
    ]
    return f"To the weak threshold, looked at every ten updates: {'; '.join(said)}."


def published_lola(results: dict[str, Any]) -> str:
    """LOLA-DiCE, by look-aheads."""
    return _in_turn(
        {
            f"{row['look_aheads']} look-ahead{'s' if row['look_aheads'] > 1 else ''}": row
            for row in results["rows"]
        }
    )


def published_mfos(results: dict[str, Any]) -> str:
    """M-FOS in the exact game."""
    return _in_turn(
        {f"{row['batch']} games, 100 meta-steps, 4 epochs": row for row in results["rows"]}
    )


def _in_turn(rows: dict[str, Any]) -> str:
    """CPU seconds an update, theirs and ours, measured in turn."""
    lines = [
        "| | theirs, s an update | ours, s an update | theirs / ours |",
        "|---|---:|---:|---:|",
    ]
    for title, row in rows.items():
        theirs, ours = (
            f"{median(row[name]):.4f} ({min(row[name]):.4f} to {max(row[name]):.4f})"
            for name in ("theirs", "ours")
        )
        lines.append(f"| {title} | {theirs} | {ours} | {row['ratio']:.1f} |")
    lines += [
        "",
        "Median (lowest to highest) of CPU seconds; of the ratios of neighbours the median.",
    ]
    return "\n".join(lines)
