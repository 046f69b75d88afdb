"""Tables of benchmarks/train_*.py: prisoner's dilemma, public goods, unknown values, numbers as actions."""

from __future__ import annotations

from statistics import median
from typing import Any


def tables(results: dict[str, Any]) -> str:
    """One line a learner: what its seeds ended in, and how long that took."""
    lines = [
        "| learner | iterations | seeds | strategies learned | P(C) at the start, after CC, CD, DC, DD: "
        "lowest to highest | reward a step | training, s | whole process, s |",
        "|---|---:|---|---|---|---:|---:|---:|",
    ]
    for learner, found in results["training"].items():
        spread = found["lowest_median_highest"]
        strategies = ", ".join(
            f"{name} {count} of {found['runs']}" for name, count in found["strategies"].items()
        )
        answers = "; ".join(
            f"{low:.2f} to {high:.2f}" for low, _, high in spread["p_cooperate"].values()
        )
        low, _, high = spread["self_play"]
        shortest, middle, longest = spread["seconds"]
        alone = found.get("process_seconds")
        lines.append(
            f"| {learner} | {found['iterations']} | {found['seeds']} | {strategies} | {answers} | "
            f"{low:.2f} to {high:.2f} | {middle:.1f} ({shortest:.1f} to {longest:.1f}) | "
            f"{f'{median(alone):.1f}' if alone else 'not measured'} |"
        )
    lines += [
        "",
        "No setting was chosen on these seeds. Reward: of self-play without exploration. Training: median "
        "(lowest to highest), one thread, in which whatever else ran on the machine counts (see its load); "
        "whole process: median of three.",
    ]
    return "\n".join(lines)


def public_goods(results: dict[str, Any]) -> str:
    """One line a row of seeds: what they learned, and what that is worth."""
    lines = [
        "| learner | exploration | iterations | strict | kinds | self-play | a lone defector | best response "
        "gains | CPU s a run |",
        "|---|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for name, row in results["rows"].items():
        first, last = row["seeds"]
        kinds = ", ".join(f"{kind} {count}" for kind, count in row["kinds"].items())
        spread = row["lowest_mean_highest"]
        worth = " | ".join(
            "{1:.3f} ({0:.3f} to {2:.3f})".format(*spread[one])
            for one in ("self_play", "lone_defector", "best_response_gain")
        )
        lines.append(
            f"| {name} | {row['exploration']:g} | {row['iterations']} | "
            f"{row['strict']} of {last - first + 1} | {kinds} | {worth} | {spread['cpu_seconds'][1]:.1f} |"
        )
    first, last = next(iter(results["rows"].values()))["seeds"]
    lines += [
        "",
        f"Seeds {first} to {last}, a run each; settings were found on seeds 0 to 5. Rewards a step without "
        "exploration: mean (lowest to highest). All give: -1, nobody: -2.",
    ]
    return "\n".join(lines)


def unknown_values(results: dict[str, Any]) -> str:
    """One line a row of pairs: what both agents answer, and what they earn."""
    lines = [
        "| pairs | four answers of tit-for-tat, both | and both open with C | mean P(C) of the first at the "
        "start, after CC, CD, DC, DD | of the other | reward a step of the first | of the other | "
        "cosine of inferred and true rewards | CPU s a run |",
        "|---|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for name, row in results["rows"].items():
        first, last = row["seeds"]
        answers = [
            " ".join(f"{mean:.2f}" for _, mean, _ in row[key].values())
            for key in ("p_cooperate", "p_cooperate_other")
        ]
        spread = row["lowest_mean_highest"]
        earned = " | ".join(
            "{1:.2f} ({0:.2f} to {2:.2f})".format(*spread[key])
            for key in ("reward", "reward_of_the_other")
        )
        cosines = "; ".join(
            "{1:.2f} ({0:.2f} to {2:.2f}) after {3}".format(*found, when)
            for when, found in row.get("cosine", {}).items()
        )
        lines.append(
            f"| {name} | {row['four_answers']} of {last - first + 1} | {row['four_answers_and_opening']} | "
            f"{answers[0]} | {answers[1]} | {earned} | {cosines} | {spread['cpu_seconds'][1]:.1f} |"
        )
    first, last = next(iter(results["rows"].values()))["seeds"]
    lines += [
        "",
        f"Seeds {first} to {last}, a run each; the settings are those of self-play, seeds 0 and 1 were "
        "looked at (inferred: 0 to 18). Rewards: without exploration, mean (lowest to highest). "
        "Tit-for-tat: at least .9 after CC and DC, at most .2 after CD and DD.",
    ]
    return "\n".join(lines)


def continuous(results: dict[str, Any]) -> str:
    """One line a row of seeds: what they do, and what that is worth."""
    lines = [
        "| game, learner | iterations | reached | at the start | after CC | CD | DC | DD | copies end at | "
        "self-play | best response gains | CPU s a run |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in results["rows"].items():
        first, last = row["seeds"]
        spread = row["lowest_mean_highest"]
        each = ("{1:.2f} ({0:.2f} to {2:.2f})".format(*one) for one in row["answers"].values())
        answers = " | ".join(each)
        worth = " | ".join(
            "{1:.3f} ({0:.3f} to {2:.3f})".format(*spread[one])
            for one in ("copies_do", "self_play", "best_response_gain")
        )
        lines.append(
            f"| {name} | {row['iterations']} | {row['reached']} of {last - first + 1} | {answers} | "
            f"{worth} | {spread['cpu_seconds'][1]:.0f} |"
        )
    lines += [
        "",
        "Seeds from 100 on, a run each: mean (lowest to highest), without noise; settings were found on "
        "seeds 0 to 5. C and D: 1 and 0 in the prisoner's dilemma, 1/4 (cartel) and 1/3 (Nash) in "
        "Cournot, the own last action first. Reached: above .8 after CC and DC, below .2 after CD and DD; in "
        "Cournot, copies end between 1/4 and 7/24, nearer to the cartel. Rewards a step: all give 1 -1, "
        "nobody -2; cartel 1/8, Nash 1/9.",
    ]
    return "\n".join(lines)
