"""What each probe of datasets asks, of features extracted beforehand."""
