import multiprocessing
with multiprocessing.get_context('fork').Pool(2) as pool:
    assert sum(pool.map(abs, range(-5, 5))) == 25
