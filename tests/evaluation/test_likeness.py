"""Distances between clouds of points, against closed forms, scipy and the plain definitions."""

import numpy as np
import pytest
import scipy.linalg

from orchestrion.evaluation.bootstrap import interval, mean_interval
from orchestrion.evaluation.diversity import diversity
from orchestrion.evaluation.frechet import frechet, frechet_infinite, gaussian_distance, measure_frechet, moments
from orchestrion.evaluation.kernel import bandwidth, kernel_distance
from orchestrion.evaluation.manifold import Manifold, measure_manifold
from orchestrion.evaluation.points import Points, principal_frame, squared_distances, standard_frame


def cloud(count, dimensions=8, shift=0.0, scale=1.0, seed=0):
    return shift + scale * np.random.default_rng(seed).standard_normal((count, dimensions))


def points(values, groups=None):
    return Points.of([row[None] for row in values], groups)


# Fréchet


def test_of_two_gaussians_on_a_line_it_is_the_closed_form():
    one = np.eye(1)
    assert gaussian_distance(np.zeros(1), 4 * one, np.full(1, 3.0), 25 * one) == pytest.approx(3**2 + (5 - 2) ** 2)


def test_of_covariances_that_share_axes_each_axis_adds_its_own():
    axes = np.linalg.qr(cloud(5, 5))[0]
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 1, 3, 0, 2])
    found = gaussian_distance(np.zeros(5), axes * first**2 @ axes.T, np.zeros(5), axes * second**2 @ axes.T)
    assert found == pytest.approx(np.square(first - second).sum())


def test_it_is_what_scipys_matrix_root_gives():
    (m, c), (n, d) = moments(cloud(50)), moments(cloud(40, scale=1.7, shift=0.3, seed=1) @ cloud(8, seed=2))
    root = scipy.linalg.sqrtm(c @ d).real
    assert gaussian_distance(m, c, n, d) == pytest.approx(np.square(m - n).sum() + np.trace(c + d - 2 * root), rel=1e-9)


def test_moments_are_numpys_and_a_weight_of_two_is_a_point_twice():
    values = cloud(20)
    mean, covariance = moments(values)
    assert np.allclose(mean, values.mean(0)) and np.allclose(covariance, np.cov(values.T))
    weights = np.arange(20) % 3
    assert all(np.allclose(a, b) for a, b in zip(moments(values, weights), moments(np.repeat(values, weights, axis=0))))


def test_the_same_cloud_has_no_distance_and_fewer_points_than_dimensions_are_no_trouble():
    values = cloud(5, 30)
    assert frechet(values, values) == pytest.approx(0, abs=1e-5)
    assert frechet(values, values + 2) == pytest.approx(4 * 30, abs=1e-5)


def test_extrapolation_takes_the_bias_of_a_small_sample_away():
    plain, limit = [], []
    for seed in range(20):
        first, second = cloud(100, 10, seed=2 * seed), cloud(100, 10, seed=2 * seed + 1)
        plain.append(frechet(first, second))
        limit.append(frechet_infinite(first, second))
    assert np.mean(plain) > 0.4  # though both are drawn from one Gaussian
    assert abs(np.mean(limit)) < 0.15 * np.mean(plain)
    far = [frechet_infinite(cloud(100, 10, seed=s), cloud(100, 10, 1.0, seed=99 + s)) for s in range(10)]
    assert np.mean(far) == pytest.approx(10, abs=3 * np.std(far) / np.sqrt(10))


def test_few_clips_are_warned_of_and_take_few_dimensions():
    few, many = (measure_frechet(points(cloud(n, 300)), points(cloud(n, 300, seed=1)), ("FAD", "FAD∞"))[0]
                 for n in (20, 240))
    assert "20 clips" in few.warning and many.warning is None
    assert few.low <= few.value <= few.high


# Kernel


def test_kad_is_the_plain_double_sum():
    first, second = cloud(12), cloud(9, shift=0.5, seed=1)
    kernel = lambda x, y: np.exp(-np.square(x - y).sum() / (2 * 1.5**2))  # noqa: E731
    mean = lambda pairs: np.mean([kernel(x, y) for x, y in pairs])  # noqa: E731
    within = [mean([(x, y) for i, x in enumerate(c) for j, y in enumerate(c) if i != j]) for c in (first, second)]
    across = mean([(x, y) for x in first for y in second])
    assert kernel_distance(points(first), points(second), 1.5) == pytest.approx(100 * (sum(within) - 2 * across))


def test_kad_of_two_gaussians_is_its_closed_form_on_average():
    # E k over N(0, 2s²) differences, k of width b: b / sqrt(b² + 2) exp(-shift² / 2(b² + 2)), by dimension.
    b, shift = 1.2, 0.8
    same, apart = b / np.sqrt(b**2 + 2), b / np.sqrt(b**2 + 2) * np.exp(-(shift**2) / (2 * (b**2 + 2)))
    found = [kernel_distance(points(cloud(60, 1, seed=2 * s)), points(cloud(60, 1, shift, seed=2 * s + 1)), b)
             for s in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(100 * 2 * (same - apart), abs=3 * error) and error < 1


def test_kad_of_the_same_distribution_is_zero_on_average_even_where_pieces_cluster():
    def songs(seed):
        rng = np.random.default_rng(seed)
        return points(np.repeat(rng.standard_normal((10, 4)), 6, axis=0) + 0.1 * rng.standard_normal((60, 4)),
                      np.repeat(np.arange(10), 6))

    found = [kernel_distance(songs(2 * s), songs(2 * s + 1), 2.0) for s in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)
    plain = [kernel_distance(points(songs(2 * s).values), points(songs(2 * s + 1).values), 2.0) for s in range(60)]
    assert np.mean(plain) > 5 * np.std(found) / np.sqrt(60)  # with pairs of one song it would not be


def test_the_bandwidth_is_the_median_distance():
    values = np.array([[0.0], [1.0], [3.0]])
    assert bandwidth(points(values)) == 2.0  # of 1, 2, 3


# Precision, recall, density, coverage


def naive(real, made, k):
    """The definitions, word by word."""
    def radius(cloud, i):
        return sorted(np.linalg.norm(cloud - cloud[i], axis=1))[k]

    inside = [[np.linalg.norm(m - r) <= radius(real, i) for m in made] for i, r in enumerate(real)]
    theirs = [[np.linalg.norm(m - r) <= radius(made, j) for j, m in enumerate(made)] for r in real]
    inside, theirs = np.array(inside), np.array(theirs)
    return inside.any(0).mean(), theirs.any(1).mean(), inside.sum() / k / len(made), inside.any(1).mean()


def test_the_four_figures_are_their_definitions():
    real, made = cloud(30, 3), cloud(25, 3, shift=0.7, scale=0.8, seed=1)
    figures = measure_manifold(points(real), points(made))
    assert [figure.value for figure in figures] == pytest.approx(naive(real, made, 5))


def test_a_collapsed_model_is_precise_but_covers_nothing_and_noise_is_neither():
    real = points(cloud(80, 4))
    collapsed = points(np.zeros((80, 4)) + 1e-3 * cloud(80, 4, seed=1))
    ones = np.ones(80), np.ones(80)
    manifold = Manifold.of(real, collapsed)
    assert manifold.precision(*ones) == 1 and manifold.recall(*ones) < 0.1
    far = Manifold.of(real, points(cloud(80, 4, shift=20, seed=2)))
    assert far.precision(*ones) == far.recall(*ones) == far.density(*ones) == far.coverage(*ones) == 0
    assert diversity(real, collapsed) < 0.01


def test_neighbours_are_sought_in_other_pieces():
    values = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert Manifold.of(points(values, [0, 0, 1, 1]), points(values), 1).in_real[0, 2]
    assert not Manifold.of(points(values), points(values), 1).in_real[0, 2]


def test_diversity_is_a_ratio_of_mean_distances():
    values = cloud(40, 5)
    assert diversity(points(values), points(3 * values)) == pytest.approx(3)
    twice = np.repeat(values, 2, axis=0)
    assert diversity(points(values), points(twice, np.repeat(np.arange(40), 2))) == pytest.approx(1)


# Frames and intervals


def test_squared_distances_and_frames():
    first, second = cloud(6, 3), cloud(4, 3, seed=1)
    assert np.allclose(squared_distances(first, second), np.square(first[:, None] - second[None]).sum(-1))
    skew = points(cloud(200, 3) * [1, 10, 100] + 5)
    assert np.allclose(standard_frame(skew)(skew).values.std(0)[1:], 1)
    assert standard_frame(skew)(skew).values.std(0)[0] < 1  # it varies 37 times less than the mean: counts for less
    main = principal_frame(skew, 1)(skew).values
    assert main.shape == (200, 1) and main.std() == pytest.approx(skew.values[:, 2].std(), rel=0.05)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    hits = 0
    for seed in range(100):
        values = np.random.default_rng(seed).standard_normal(40)
        low, high = mean_interval(values.tolist(), draws=100)
        hits += low <= 0 <= high
    assert 85 <= hits <= 99


def test_pieces_are_drawn_whole_so_clips_of_few_pieces_leave_a_wide_interval():
    values = np.repeat(np.random.default_rng(0).standard_normal(6), 10)
    alone, together = (mean_interval(values.tolist(), groups) for groups in (None, np.repeat(np.arange(6), 10)))
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_no_interval_is_drawn_from_fewer_than_three_pieces():
    two = points(cloud(6), [0, 0, 0, 1, 1, 1])
    assert interval(1.0, lambda a, b: 1.0, two, points(cloud(6))) == (None, None)
    assert mean_interval([1.0, 2.0]) == (None, None)
