"""Convergence of KL estimators: a normal distribution is fitted to another by gradient descent."""
