"""Calls that type checkers must refuse: those on lines marked "wrong", and no others."""

import charlstm

charlstm.train("corpus.txt", hidden=8)
charlstm.train("corpus.txt", hiden=8)  # wrong
charlstm.train("corpus.txt", hidden="large")  # wrong
charlstm.train("corpus.txt", cell="ltsm")  # wrong
charlstm.train("corpus.txt", paths=("a", "b"))  # wrong
model = charlstm.load("runs/corpus")
model.sample(5, temperature=0.5)
model.sample(5, temprature=0.5)  # wrong
model.stream(5, top_q=0.5)  # wrong
model.score("text", unkown="skip")  # wrong
model.score("text", unknown="ignore")  # wrong
charlstm.ModelConfig(hiden=8)  # wrong
charlstm.TrainConfig(batchsize=8)  # wrong
charlstm.load("runs/corpus").generate(5)  # wrong
charlstm.evaluate("text")  # wrong
charlstm.evaluate(model, "text", windows=8)  # wrong
charlstm.evaluate(model, "text", dynamic="yes")  # wrong
charlstm.novelty("sample", "text", level="letter")  # wrong
charlstm.generate(5)  # wrong
model.sample(5, count="two")  # wrong
model.sample(5, count=2).upper()  # wrong
print(model.score(["text"]).bits_per_character)  # wrong
model.score("text", workers="all")  # wrong
