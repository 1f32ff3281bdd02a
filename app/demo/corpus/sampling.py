"""Topics: how the next token is chosen, and the parameters that steer it."""

from app.demo.corpus.topic import Topic

TOPICS: tuple[Topic, ...] = (
    Topic(
        names=("sampling",),
        answers=(
            (
                "Sampling means choosing the next token at random, in proportion to its probability. "
                "Likely tokens are chosen often, and unlikely ones now and then."
            ),
        ),
        details=("Temperature, top-p and top-k change which tokens can be chosen.",),
        questions=("How is the next token chosen?", "How do you choose the next token?"),
    ),
    Topic(
        names=("greedy decoding", "greedy sampling", "greedy search"),
        answers=(
            (
                "Greedy decoding always takes the most likely token. It gives the same answer every time, "
                "but it can repeat itself."
            ),
        ),
        details=("You get it by setting the temperature to 0.",),
        questions=("How do I get the same answer every time?", "What does temperature 0 mean?"),
    ),
    Topic(
        names=("temperature", "the temperature", "the temperature parameter"),
        answers=(
            (
                "Temperature controls how much chance there is in the choice of the next token. "
                "A low temperature gives safe, steady text, and a high one gives more surprising text."
            ),
            (
                "Temperature divides the scores before they become probabilities. Low values make the likely tokens "
                "even more likely; at 0 the best token always wins."
            ),
        ),
        details=(
            "Values between 0 and 1 are usual. With a small model like me, a low temperature reads best.",
            "Above 1 the text soon becomes wild.",
        ),
        questions=("How do I make the output less random?", "What does the temperature change?"),
    ),
    Topic(
        names=("top-p", "top_p", "top p", "nucleus sampling"),
        answers=(
            (
                "Top-p keeps only the most likely tokens whose probabilities add up to p, and drops the rest. "
                "With top-p at 0.9, the unlikely tail is never chosen."
            ),
        ),
        details=("It adapts: where the model is sure, few tokens are kept, and where it is unsure, many.",),
    ),
    Topic(
        names=("top-k", "top_k", "top k"),
        answers=("Top-k keeps the k most likely tokens and drops all others. The choice is then made among those k.",),
        details=("With top-k at 1 you get greedy decoding.",),
    ),
    Topic(
        names=("min-p", "min_p"),
        answers=(
            (
                "Min-p drops every token whose probability is less than p times that of the best token. "
                "It cuts more when the model is sure."
            ),
        ),
    ),
    Topic(
        names=("a seed", "the seed", "the seed parameter"),
        answers=(
            (
                "A seed is a number that fixes the random choices. "
                "With the same seed, prompt and settings you get the same text again."
            ),
            "The seed makes sampling repeatable: the same seed and the same prompt give the same tokens.",
        ),
        details=(
            (
                "In Millrace this holds whatever else is in the batch, because each random number depends only on "
                "the seed and the position."
            ),
        ),
        questions=("How do I make sampling repeatable?", "How can I get the same random text again?"),
    ),
    Topic(
        names=("a stop sequence", "the stop parameter", "a stop string"),
        plural_names=("stop sequences", "stop strings"),
        answers=(
            (
                "A stop sequence is a text that ends the generation as soon as it appears. "
                "The stop sequence itself is not part of the answer."
            ),
        ),
        details=("While streaming, the server holds back text that could be the start of a stop sequence.",),
        questions=("How do I make the model stop at a certain word?", "How can I end the output early?"),
    ),
    Topic(
        names=("max_tokens", "the max_tokens parameter", "max tokens"),
        answers=(
            (
                "The parameter max_tokens is the largest number of tokens that the answer may have. "
                "When it is reached, the finish reason is length."
            ),
        ),
        questions=("How do I limit the length of the answer?", "Why was my answer cut off?"),
    ),
    Topic(
        names=("the finish reason", "a finish reason", "finish_reason"),
        answers=(
            (
                "The finish reason says why a generation ended: stop when the model was done or met a stop sequence, "
                "length when the token limit was reached."
            ),
        ),
    ),
    Topic(
        names=("the end-of-text token", "the EOS token", "EOS"),
        answers=(
            (
                "The end-of-text token is a special token that the model writes when it is done. "
                "The server then ends the generation."
            ),
        ),
        questions=("How does the model know when to stop?", "When do you stop writing?"),
    ),
    Topic(
        plural_names=("logits", "the logits"),
        names=(),
        answers=(
            (
                "Logits are the raw scores that the model gives to every token in the vocabulary. "
                "A softmax turns them into probabilities."
            ),
        ),
    ),
    Topic(
        plural_names=("logprobs", "log probabilities"),
        names=(),
        answers=(
            (
                "Logprobs are the logarithms of the token probabilities. "
                "A value near zero means that the model was sure, and a very negative one that it was not."
            ),
        ),
    ),
    Topic(
        names=("softmax", "the softmax"),
        answers=(
            "Softmax turns a list of scores into probabilities that add up to one. Large scores get large shares.",
        ),
    ),
    Topic(
        names=("the repetition penalty", "the frequency penalty", "the presence penalty"),
        answers=(
            "A penalty lowers the scores of tokens that were already used, so that the text repeats itself less.",
        ),
        questions=("How do I avoid repetition?", "Why does the model repeat itself?"),
    ),
    Topic(
        names=("speculative decoding",),
        answers=(
            (
                "Speculative decoding guesses several tokens cheaply and lets the model check them in one step. "
                "Right guesses are kept, so the text comes faster and stays the same."
            ),
        ),
    ),
    Topic(
        names=("a hallucination",),
        plural_names=("hallucinations",),
        answers=(
            (
                "A hallucination is text that sounds right but is not true. "
                "A model writes what is likely, so always check facts that matter."
            ),
        ),
        questions=("Can you be wrong?", "Are you always right?", "Can I trust you?"),
    ),
    Topic(
        plural_names=("parameters", "weights", "the weights of a model"),
        names=(),
        answers=(
            (
                "The parameters of a model are the numbers that it learned in training. "
                "I have about five million, and large models have billions."
            ),
        ),
        questions=("How big are you?", "How many parameters do you have?", "How large is this model?"),
    ),
    Topic(
        names=("training", "the training of a model"),
        answers=(
            (
                "Training shows a model many examples and changes its weights a little after each, "
                "so that the next token becomes easier to guess."
            ),
        ),
        questions=("How does a model learn?", "How do models learn?"),
    ),
    Topic(
        names=("bfloat16", "bf16"),
        answers=(
            (
                "Bfloat16 is a number format with 16 bits: the range of float32 with less precision. "
                "It halves the memory that a model needs."
            ),
        ),
    ),
    Topic(
        names=("quantization",),
        answers=(
            (
                "Quantization stores the weights of a model with fewer bits. "
                "The model becomes smaller and often faster, and a little less exact."
            ),
        ),
    ),
)
