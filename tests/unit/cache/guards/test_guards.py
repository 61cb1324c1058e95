"""What each guard refuses, and what none of them does."""

import pytest

from app.cache.guards import GUARDS, differ

SAME = [
    ("How do I reverse a list in Python?", "What's the best way to reverse a Python list?"),
    ("How do I reverse a list in Python?", "In Python, how can I reverse a list?"),
    ("What is the capital of France?", "Can you tell me France's capital city?"),
    ("Explain how photosynthesis works", "How does photosynthesis work?"),
    ("difference between let and var in JavaScript", "What's the difference between var and let in JS?"),
    ("Write a short poem about the sea", "Please compose a short poem about the ocean."),
    ("Why is the sky blue?", "What makes the sky blue?"),
    ("Who was the first president of the United States?", "Who was the first US president?"),
    ("What are the benefits of meditation?", "List the advantages of meditation."),
    ("How should passwords be hashed?", "How should you hash passwords?"),
    ("longest river in Asia", "Which river in Asia is the longest?"),
    ("How tall is the Eiffel Tower?", "What is the height of the Eiffel Tower?"),
    ("How do I convert 5 km to miles?", "how can i convert five kilometres into miles, please"),
    ("How do I restart nginx?", "hi, how do i restrat nginx?? thanks!"),
    ("Write a loop over the numbers 1 to 20.", "Write a loop over the numbers from 1 to 20."),
    ("How do I turn off the alarm?", "How do I turn the alarm off?"),
    ("My visa ends on 10 May. What should I do?", "my visa ends on May 10, what should i do"),
    ('Translate "good night" into German', 'How do you say "good night" in German?'),
    ("Explain the difference between tea and coffee to a child", "explain to a child how tea differs from coffee"),
    ("Summarise the text in five bullet points", "Please summarize the text in 5 bullets"),
]

DIFFERENT = {
    "length": [("How do I sort a list? " * 100, "How do I sort a list? " * 100)],
    "language": [
        ("Wie sortiere ich eine Liste?", "Wie sortiere ich eine Liste?"),
        ("どうやってリストを並べ替えますか", "どうやってリストを並べ替えますか"),
        ("Comment trier une liste ?", "How do I sort a list?"),
        ("guten Morgen", "guten Morgen"),
    ],
    "code": [
        ("What does `ls -l` do?", "What does `ls -a` do?"),
        ("What does print(x[-1]) print?", "What does print(x[:-1]) print?"),
        ("What does this regex match? ^\\d{3}$", "What does this regex match? ^\\D{3}$"),
        ("What is a - b if a is big?", "What is b - a if a is big?"),
        ("What does SELECT a FROM t return?", "What does SELECT b FROM t return?"),
        ("How do I open /etc/hosts?", "How do I open /etc/passwd?"),
        ("What is on https://a.example/x?", "What is on https://a.example/y?"),
        ("How do I learn C++?", "How do I learn C#?"),
        ("How do I call get_user()?", "How do I call get_users()?"),
    ],
    "number": [
        ("What is 15% of 80?", "What is 25% of 80?"),
        ("Name five rivers in Asia", "Name six rivers in Asia"),
        ("How do I install version 3.10?", "How do I install version 3.11?"),
        ("Who was the second president?", "Who was the third president?"),
        ("music of the 1980s in one list", "music of the 1990s in one list"),
    ],
    "unit": [
        ("How far is 5 km on a map?", "How far is 5 miles on a map?"),
        ("What can I buy for $5?", "What can I buy for €5?"),
    ],
    "letter": [
        ("What is vitamin B for?", "What is vitamin C for?"),
        ("What is vitamin A for?", "What is vitamin for?"),
    ],
    "time": [
        ("What is the latest version of Go?", "What is the latest version of Go?"),
        ("Who is the current king?", "Who is the current king?"),
        ("What is the weather in Oslo?", "What is the weather in Oslo?"),
        ("Is the shop open on Monday?", "Is the shop open on Sunday?"),
        ("Who is the head of the bank?", "Who was the head of the bank?"),
    ],
    "negation": [
        ("Which birds can fly?", "Which birds cannot fly?"),
        ("pancakes with eggs, how?", "pancakes without eggs, how?"),
        ("Is it safe to eat raw eggs?", "Isn't it safe to eat raw eggs?"),
    ],
    "person": [
        ("What is my name?", "What is your name?"),
        ("How can he join the club with friends?", "How can she join the club with friends?"),
    ],
    "entity": [("How do I buy an apple for a friend?", "How do I buy an Apple for a friend?")],
    "antonym": [
        ("How do I enable the firewall?", "How do I disable the firewall?"),
        ("What is the cheapest way to Rome?", "What is the fastest way to Rome?"),
        ("How do imports work in a country?", "How do exports work in a country?"),
    ],
    "question": [
        ("Why do cats sleep?", "When do cats sleep?"),
        ("What are the differences between tea and coffee?", "What are the similarities between tea and coffee?"),
        ("Should I eat before a run?", "Can I eat before a run?"),
    ],
    "scope": [
        ("Can I evict my landlord?", "Can my landlord evict me?"),
        ("Explain gravity", "Explain gravity briefly"),
        ("Explain gravity to a child", "Explain gravity"),
        ("the longest river in Asia", "the longest salty river in Asia"),
        ("Write a poem about rain in Spanish", "Write a poem about rain"),
    ],
    "template": [
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("How do I grate cheese?", "How do I freeze cheese?"),
        ("Write a poem about rain", "Write a poem about stones"),
    ],
    "order": [
        ("How do I convert celsius to fahrenheit?", "How do I convert fahrenheit to celsius?"),
        ("Who owns the bank?", "Who does the bank own?"),
        ("Who did Brutus kill?", "Who killed Brutus?"),
        ("the effect of stress on sleep", "the effect of sleep on stress"),
        ("I love my job but hate my boss.", "I love my boss but hate my job."),
        ("Does Alice love Bob?", "Does Bob love Alice?"),
        ("Do dogs bark at cats?", "Do cats bark at dogs?"),
        ("Is Python faster than Java?", "Is Java faster than Python?"),
        ("Who ruled before Elizabeth?", "Who ruled after Elizabeth?"),
        ("How do I get from Rome to Oslo by train?", "How do I get from Oslo to Rome by train?"),
        ("Is the dog chased by the cat?", "Does the dog chase the cat?"),
        ("When do I get paid by the firm?", "When do I pay the firm?"),
    ],
}


@pytest.mark.parametrize(("a", "b"), SAME)
def test_nobody_objects_to_another_wording(a, b):
    assert differ(a, b) is None


@pytest.mark.parametrize(("guard", "a", "b"), [(guard, *pair) for guard, pairs in DIFFERENT.items() for pair in pairs])
def test_a_guard_objects(guard, a, b):
    assert differ(a, b) == guard


@pytest.mark.parametrize("text", sorted({text for pair in SAME for text in pair}))
def test_an_english_text_is_the_same_as_itself(text):
    assert differ(text, text) is None


def test_every_guard_has_pairs_of_its_own():
    assert DIFFERENT.keys() == GUARDS.keys()


def test_words_about_words_have_no_synonyms():
    assert differ("What is the meaning of job?", "What is the meaning of occupation?") is not None
    assert differ("Where can I find a job?", "Where can I find an occupation?") is None
    assert differ('synonyms for "happy" please, in a list', 'synonyms for "glad" please, in a list') is not None


def test_a_slip_is_forgiven_but_no_real_word_is_taken_for_one():
    assert differ("How do I undo a git commit?", "how do i undo a git comit") is None
    assert differ("How do I cross a desert?", "How do I cross a dessert?") is not None
    assert differ("How do I draw an angle?", "How do I draw an angel?") is not None


def test_a_pronoun_that_something_is_done_to_is_not_who_does_it():
    assert differ("When do I get paid at the store?", "When do I pay at the store?") is not None
    assert differ("Can I be fired while on leave?", "Can I fire while on leave?") is not None


def test_http_and_https_are_two_words():
    assert differ("How do I use http in a script?", "How do I use https in a script?") is not None
